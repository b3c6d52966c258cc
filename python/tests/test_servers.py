"""The Redis servers and the proxy do what other tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import redis

from redis_proxy import Proxy
from redis_server import PATIENCE, RedisServer

Start = Callable[..., RedisServer]
ProxyTo = Callable[[RedisServer], Proxy]


def client_of(url: str, **options: object) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=PATIENCE, retry=None, **options)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_shared_server_keeps_what_a_foreign_client_writes(
    redis_server: RedisServer, foreign: redis.Redis, namespace: str
) -> None:
    foreign.set(f"{namespace}:key", b"\xff\r\n")

    assert redis_server.ask("GET", f"{namespace}:key") == b"\xff\r\n"
    with client_of(redis_server.url) as client:
        assert client.get(f"{namespace}:key") == b"\xff\r\n"


def test_a_server_with_a_password_and_users_asks_for_them(own_server: Start) -> None:
    server = own_server(password="p@ss", users={"app": "on >secret ~app:* +get"})

    with client_of(server.url.replace(":p@ss@", "")) as client, pytest.raises(redis.AuthenticationError):
        client.get("app:key")
    with client_of(server.url.replace(":p@ss@", "app:secret@")) as client:
        assert client.get("app:key") is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("other")


def test_a_server_with_tls_proves_who_it_is(own_server: Start) -> None:
    server = own_server(tls=True)

    with client_of(server.url, ssl_ca_certs=str(server.authority)) as client:
        assert client.set("key", "value")
    with client_of(server.url) as client, pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get("key")


def test_a_paused_server_answers_when_it_is_resumed(own_server: Start) -> None:
    server = own_server()
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as client:
        server.pause()
        client.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            client.recv(64)
        server.resume()
        client.settimeout(PATIENCE)
        assert client.recv(64) == b"+PONG\r\n"


def test_a_killed_server_refuses_and_comes_back_on_its_port(own_server: Start) -> None:
    server, forgetful = own_server(append_only=True), own_server()
    for each in (server, forgetful):
        each.ask("SET", "key", "value")
        each.kill()
        assert not listens(each.port)
        each.restart()

    assert server.ask("GET", "key") == b"value"
    assert forgetful.ask("GET", "key") is None


def test_a_replica_follows_its_primary_until_it_is_promoted(own_server: Start) -> None:
    primary, replica = own_server(password="secret"), own_server()
    primary.ask("SET", "key", "value")
    replica.replica_of(primary)

    assert replica.ask("GET", "key") == b"value"
    with pytest.raises(redis.ReadOnlyError):
        replica.ask("SET", "key", "other")
    replica.promote()
    replica.ask("SET", "key", "other")


def test_no_server_outlives_the_process_that_started_it() -> None:
    started = "import time; from redis_server import RedisServer; s = RedisServer(); print(s.port, flush=True); time.sleep(99)"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", started]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert listens(port)
        process.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + PATIENCE
    while listens(port):
        assert time.monotonic() < deadline


def test_a_proxy_forwards_until_it_cuts(own_server: Start, proxy_to: ProxyTo) -> None:
    proxy = proxy_to(own_server())
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(64) == b"+PONG\r\n"
        proxy.cut()
        assert client.recv(64) == b""
    with client_of(proxy.url) as again:
        assert again.ping()
    assert proxy.connections == 2


def test_a_proxy_cuts_in_the_middle_of_a_reply(redis_server: RedisServer, namespace: str, proxy_to: ProxyTo) -> None:
    proxy = proxy_to(redis_server)
    command = f"INCR {namespace}:n\r\n".encode()
    for passes, heard in ((3, b":1\r"), (0, b"")):
        proxy.cut_after("replies", passes)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE) as client:
            client.sendall(command)
            assert b"".join(iter(lambda client=client: client.recv(64), b"")) == heard

    assert redis_server.ask("GET", f"{namespace}:n") == b"2"


def test_a_proxy_holds_delays_and_swallows(redis_server: RedisServer, namespace: str, proxy_to: ProxyTo) -> None:
    proxy = proxy_to(redis_server)
    command = f"INCR {namespace}:n\r\n".encode()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.05) as client:
        proxy.hold("replies")
        client.sendall(command)
        with pytest.raises(TimeoutError):
            client.recv(64)
        assert redis_server.ask("GET", f"{namespace}:n") == b"1"
        proxy.release("replies")
        client.settimeout(PATIENCE)
        assert client.recv(64) == b":1\r\n"

        proxy.delay("requests", 0.03)
        begun = time.monotonic()
        client.sendall(command)
        assert client.recv(64) == b":2\r\n"
        assert time.monotonic() - begun >= 0.03

        proxy.delay("requests", 0)
        proxy.swallow()
        client.sendall(command)
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(64)
    assert redis_server.ask("GET", f"{namespace}:n") == b"3"
