"""The real server in a process of its own, on a free port of the loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

HERE = Path(__file__).resolve().parent
PATIENCE = 60.0  # seconds; a start takes about one


@dataclass
class Server:
    port: int
    database: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextmanager
def serving(
    folder: Path,
    token: str,
    factory: str = "app.main:create_app",
    *,
    workers: int = 1,
    cache: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Start it, wait until it answers, and end it.

    Args:
        workers: How many processes serve.
        cache: The `CACHE_` variables; the cache is in memory without any.
    """
    port = free_port()
    docs = folder / "docs"
    docs.mkdir(exist_ok=True)
    variables = {
        "APP_DATABASE": str(folder / "app.db"),
        "APP_ADMIN_TOKEN": token,
        "APP_DOCS": str(docs),
        **(cache or {}),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CACHE_", "APP_"))}
    command = [sys.executable, "-m", "uvicorn", "--factory", factory, "--app-dir", str(HERE)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--workers", str(workers)]
    log = (folder / "server.log").open("wb")
    with (
        log,
        subprocess.Popen(
            command, cwd=HERE.parent, env={**kept, **variables}, stdout=log, stderr=subprocess.STDOUT
        ) as process,
    ):
        server = Server(port, folder / "app.db", process)
        try:
            wait_until_ready(server, folder / "server.log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_ready(server: Server, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/health", timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not come up:\n{log.read_text(errors='replace')}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
