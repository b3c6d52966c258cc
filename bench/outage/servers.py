"""Redis as it fails: a primary, a replica of it and three sentinels, and the application over them.

All listen on the loopback, on free ports, keep their files in one folder, and end with the block.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

APPLICATION = Path(__file__).parents[2] / "examples" / "fastapi"
NAME = "main"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def ask(port: int, *words: str) -> str:
    """What a server answers to one command, as it is on the wire; empty where nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536).decode(errors="replace")
    except OSError:
        return ""


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Waits for something that another process brings about."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        time.sleep(0.01)


class Redis:
    """One server that can be frozen, killed and started again."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.port = port
        self._command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", *options]
        self.start()

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(lambda: ask(self.port, "PING").startswith("+PONG"), f"the server at {self.port} answers")

    def freeze(self) -> None:
        """Lets it stand still, with all its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()


class Sentinels:
    """Three that watch one primary."""

    def __init__(self, folder: Path, primary: int) -> None:
        self.ports = free_ports(3)
        self._processes = []
        for port in self.ports:
            file = folder / f"sentinel-{port}.conf"
            file.write_text(
                f"bind 127.0.0.1\nport {port}\ndir {folder}\n"
                f"sentinel monitor {NAME} 127.0.0.1 {primary} 2\n"
                f"sentinel down-after-milliseconds {NAME} 60000\n"
                f"sentinel failover-timeout {NAME} 10000\n"
            )
            self._processes.append(
                subprocess.Popen(["redis-server", str(file), "--sentinel"], stdout=subprocess.DEVNULL)
            )

    def wait_until_ready(self) -> None:
        """Waits until they know each other and the replica."""
        know_all = "num-other-sentinels\r\n$1\r\n2"
        for port in self.ports:
            wait_until(
                lambda port=port: know_all in ask(port, "SENTINEL", "MASTER", NAME), "the sentinels know each other"
            )
            wait_until(
                lambda port=port: "flags\r\n$5\r\nslave" in ask(port, "SENTINEL", "REPLICAS", NAME),
                "they know the replica",
            )

    def be_quick(self) -> None:
        """From now on a primary that is silent for a second is replaced."""
        for port in self.ports:
            ask(port, "SENTINEL", "SET", NAME, "down-after-milliseconds", "1000")

    def kill(self) -> None:
        """Ends all three."""
        for process in self._processes:
            process.kill()
            process.wait()


@contextmanager
def redis_with_sentinels(folder: Path) -> Iterator[tuple[Redis, Sentinels]]:
    """A primary, with a replica that can take over."""
    first, second = free_ports(2)
    with ExitStack() as stack:
        primary = Redis(folder, first)
        stack.callback(primary.kill)
        replica = Redis(folder, second, "--replicaof", "127.0.0.1", str(first))
        stack.callback(replica.kill)
        wait_until(lambda: "master_link_status:up" in ask(second, "INFO", "replication"), "the replica follows")
        sentinels = Sentinels(folder, first)
        stack.callback(sentinels.kill)
        sentinels.wait_until_ready()
        yield primary, sentinels


@contextmanager
def application(folder: Path, redis_url: str, workers: int, settings: dict[str, str]) -> Iterator[str]:
    """The guide's application, in several processes; gives its address."""
    (port,) = free_ports(1)
    (folder / "docs").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CACHE_", "APP_"))}
    variables = {
        "APP_DATABASE": str(folder / "app.db"),
        "APP_DOCS": str(folder / "docs"),
        "CACHE_BACKEND": "redis",
        "CACHE_REDIS_URL": redis_url,
        **settings,
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--no-access-log"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/health", timeout=1).status == 200
        except OSError:
            return False

    log = (folder / "application.log").open("wb")
    with log, subprocess.Popen(command, cwd=APPLICATION, env=kept | variables, stdout=log, stderr=log) as process:
        try:
            wait_until(answers, f"the application answers; it wrote to {log.name}", 60)
            yield address
        finally:
            process.terminate()
            process.wait()
