"""Starts the application with real documents: `python demo.py [--docs FOLDER] [--host HOST] [--port PORT]`."""

import argparse
import contextlib
import logging
import os
import socket
import sys
from pathlib import Path

import uvicorn

from app.core.settings import Settings
from app.main import create_app

ROOT = Path(__file__).resolve().parents[2]


class Server(uvicorn.Server):
    """Says where it is, once it answers."""

    greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self.greeting, flush=True)


def main() -> None:
    asked = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

    listening = listen(asked.host, asked.port)
    os.environ.setdefault("APP_DATABASE", str(ROOT / "demo" / "app.db"))
    settings = Settings(docs=asked.docs, ingest_on_start=True)
    server = Server(uvicorn.Config(create_app(settings), log_config=None, access_log=False))
    server.greeting = greeting(listening, settings.admin_token)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the example application with real documents.")
    parser.add_argument("--docs", type=folder, help="the folder to ingest (default: the project's texts, package docs)")
    parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT") or 8000)
    return parser.parse_args()


def folder(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on, taken before anything else starts, so that a taken port is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {host}:{port}: {error}\nchoose another port with --port (or PORT=… make demo)")
    return listening


def greeting(listening: socket.socket, token: str) -> str:
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"""
Ready: {url}/  (documents are being indexed in the background; Ctrl-C stops)

  Start page      {url}/
  API, to try     {url}/docs
  Admin token     {token}

  curl -H "Authorization: Bearer {token}" "{url}/api/v1/admin/jobs/status?force_refresh=true"
"""


if __name__ == "__main__":
    main()
