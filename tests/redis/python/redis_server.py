"""A `redis-server` of a test's own, on a free loopback port and in a folder that goes with it.

Owns the process from its start to its end: no server outlives the test that started it, not even one that is killed.
Must not know what the test keeps in it. The same words as the crate `donjon-test-redis` beside this folder.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
import trustme

PATIENCE = 20.0  # seconds
POLL = 0.002  # seconds
TRIES = 20

# The user that is added to each server, so that passwords and ACLs under test never lock the test out. The password is no
# secret: the server listens on the loopback for the length of a test.
USER, PASSWORD = "donjon-test-kit", "kit"
MASTER = ("--masteruser", USER, "--masterauth", PASSWORD)

# Reads until the process that holds the other end is gone, which may be by a signal that nobody can catch.
GUARD = 'trap "" HUP INT TERM; read -r _; kill -KILL "$1"; rm -rf "$2"'


class RedisServer:
    """A running server; `close()` or the end of a `with` ends it.

    Args:
        password: That of the default user.
        users: Users by the rules of an ACL: `{"app": "on >secret ~app:* +get", "default": "off"}`.
        tls: Speak TLS and nothing else on the port, by a certificate of an authority made for it.
        append_only: Keep what was written on disk, for the next start of the same server.
        memory: How many bytes the server may use, and what it gives up beyond, such as `noeviction`.
        watches: The name and the port of a primary, for a sentinel that watches over it and keeps no values.
        options: Any other settings of `redis.conf`.
    """

    def __init__(
        self,
        *,
        password: str | None = None,
        users: Mapping[str, str] | None = None,
        tls: bool = False,
        append_only: bool = False,
        memory: tuple[int, str] | None = None,
        watches: tuple[str, int] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.password = password
        self._watches = watches
        self._copies: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="donjon-redis-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.socket = self.folder / "redis.sock"
        self.authority = self.folder / "authority.pem" if tls else None
        self._options = ["--save", "", "--appendonly", "yes" if append_only else "no"]
        # What was answered is on disk, also where the server is killed at once: by default it may put writing off by two seconds.
        self._options += ["--appendfsync", "always"]
        # A replica gets its copy at once, where the default waits for others to come.
        self._options += ["--daemonize", "no", "--repl-diskless-sync-delay", "0"]
        self._options += ["--dir", str(self.folder), "--unixsocket", str(self.socket)]
        self._options += ["--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]
        if password is not None:
            self._options += ["--requirepass", password]
        for user, rules in (users or {}).items():
            self._options += ["--user", user, *rules.split()]
        if memory is not None:
            self._options += ["--maxmemory", str(memory[0]), "--maxmemory-policy", memory[1]]
        if self.authority is not None:
            self._options += self._certificates(self.authority)
        for name, value in (options or {}).items():
            self._options += [f"--{name}", value]

        self._process: _Process | None = None
        try:
            for _ in range(TRIES):
                self.port = _free_port()
                try:
                    self._process = self._started()
                    break
                except _PortTaken:
                    continue
            else:
                raise RuntimeError(f"found no free port in {TRIES} tries")
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients connect, with the password if there is one."""
        scheme, host = ("rediss", "localhost") if self.authority else ("redis", "127.0.0.1")
        password = f":{self.password}@" if self.password else ""
        return f"{scheme}://{password}{host}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it was not killed."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process, for signals."""
        if self._process is None:
            raise RuntimeError("the server was killed")
        return self._process.server.pid

    def client(self) -> redis.Redis:
        """A client that may do everything, and that neither TLS nor passwords stand in the way of. To be closed."""
        return redis.Redis(
            unix_socket_path=str(self.socket), username=USER, password=PASSWORD, protocol=2, socket_timeout=PATIENCE
        )

    def ask(self, *words: str | bytes | int) -> Any:
        """What `redis-cli` would do: one command over a connection of its own, its reply as it came.

        Raises:
            redis.ResponseError: The server's error reply.
        """
        with self.client() as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    def info(self, field: str) -> str | None:
        """A field of `INFO`."""
        for line in self.ask("INFO", "all").decode().splitlines():
            if line.startswith(field + ":"):
                return str(line[len(field) + 1 :])
        return None

    def pause(self) -> None:
        """Stop the process where it stands: sockets stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal is on its way only: wait until it has come.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once and without a word, as a crash does. Its port refuses from now on."""
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def restart(self, *, replica_of: RedisServer | None = None) -> None:
        """Kill the server if it runs, and start it again on the same port; without `append_only` it forgot everything.

        With `replica_of` it is a copy of that one from its first moment, and never seen as anything else.
        """
        self.kill()
        self._copies = [] if replica_of is None else ["--replicaof", "127.0.0.1", str(replica_of.port), *MASTER]
        deadline = time.monotonic() + PATIENCE
        while self._process is None:
            try:
                self._process = self._started()
            except _PortTaken:  # something else may hold the port for a moment
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL)

    def replica_of(self, primary: RedisServer) -> None:
        """Make this server a read-only copy of another, and wait until it is one."""
        self.ask("CONFIG", "SET", "masteruser", USER)
        self.ask("CONFIG", "SET", "masterauth", PASSWORD)
        self.ask("REPLICAOF", "127.0.0.1", primary.port)
        self.wait("the replica has caught up", lambda: self.info("master_link_status") == "up")

    def promote(self) -> None:
        """Make a replica a primary again."""
        self.ask("REPLICAOF", "NO", "ONE")

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds, for as long as a test can spare."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"in vain waited until {what}; the server's log ends:\n{self._log()}")
            time.sleep(POLL)

    def close(self) -> None:
        """End the server and remove its folder."""
        self.kill()
        self._folder.cleanup()

    def _started(self) -> _Process:
        ports = ["--port", "0", "--tls-port", str(self.port)] if self.authority else ["--port", str(self.port)]
        options = (
            ["--bind", "127.0.0.1", *ports, *self._options, *self._copies]
            if self._watches is None
            else self._sentinel()
        )
        process = _Process([_program(), *options], self.folder)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    # The socket lies in the server's own folder: who answers there is no other test's server.
                    self.ask("PING")
                    return process
                except redis.RedisError as error:
                    status = process.server.poll()
                    if status is not None and "Address already in use" in self._log():
                        raise _PortTaken(f"port {self.port} is taken") from None
                    if status is not None or time.monotonic() > deadline:
                        found = (
                            f"the server did not start ({error}, exit status {status}); its log ends:\n{self._log()}"
                        )
                        raise RuntimeError(found) from None
                time.sleep(POLL)
        except BaseException:
            process.end()
            raise

    def _sentinel(self) -> list[str]:
        """What a sentinel is told by a file, which it writes to."""
        assert self._watches is not None
        name, port = self._watches
        lines = [
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\nunixsocket {self.socket}",
            f"user {USER} on >{PASSWORD} ~* &* +@all",
            f"sentinel monitor {name} 127.0.0.1 {port} 2",
            f"sentinel down-after-milliseconds {name} 1000",
            f"sentinel failover-timeout {name} 5000",
        ]
        file = self.folder / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        return [str(file), "--sentinel"]

    def _certificates(self, authority: Path) -> list[str]:
        issuer = trustme.CA()
        issuer.cert_pem.write_to_path(authority)
        certificate, key = self.folder / "server.pem", self.folder / "server.key"
        issued = issuer.issue_cert("localhost", "127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        files = ["--tls-ca-cert-file", str(authority), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
        return ["--tls-auth-clients", "no", *files]

    def _log(self) -> str:
        return "\n".join((self.folder / "redis.log").read_text(errors="replace").splitlines()[-10:])


class _Process:
    """The server's process, and one that ends it should this one die first."""

    def __init__(self, command: list[str], folder: Path) -> None:
        with (folder / "redis.log").open("wb") as log:
            self.server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", str(self.server.pid), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        # The guard first: once the server is waited for, its number may belong to somebody else.
        for process in (self.guard, self.server):
            process.kill()
            process.wait()
        if self.guard.stdin is not None:
            self.guard.stdin.close()


class _PortTaken(Exception):
    """Somebody else listens there."""


def _program() -> str:
    named = os.environ.get("REDIS_SERVER")
    programs = [named] if named else ["redis-server", "valkey-server"]
    for program in programs:
        if shutil.which(program):
            return program
    raise RuntimeError(
        f"these tests need a Redis or Valkey server, and there is no {' and no '.join(programs)}: on Debian and Ubuntu, "
        "apt-get install redis-server; or name a server by REDIS_SERVER=/path/to/redis-server"
    )


def _free_port() -> int:
    """A port that nobody listens on, nor on the one that the nodes of a cluster would talk over.

    Below those that systems hand out to the near end of connections.
    """
    while True:
        port = random.randrange(10_000, 22_000)
        if all(_is_free(one) for one in (port, port + 10_000)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
