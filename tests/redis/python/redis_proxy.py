"""A way to a server on which things go wrong when a test says so.

Owns its connections and what happens to their bytes. Must not know what the bytes say: what it forwards may be TLS.
The same words as the crate `donjon-test-redis` beside this folder.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

Direction = Literal["requests", "replies"]


class Proxy:
    """Forwards connections on a loopback port of its own to another; `close()` or the end of a `with` ends them all."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0  # how many were made so far
        self._changed = threading.Condition()
        self._rules: dict[Direction, _Rule] = {"requests": _Rule(), "replies": _Rule()}
        self._open: list[_Connection] = []
        self._closed = False
        self._forwarding: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where clients of a server without TLS and password connect."""
        return f"redis://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Cut every connection there is. New ones are welcome."""
        with self._changed:
            for connection in self._open:
                connection.cut()

    def cut_after(self, direction: Direction, size: int) -> None:
        """Let `size` more bytes pass in a direction and cut the connection on which the next one comes.

        With 0 bytes of replies, the server has done what the client never hears of.
        """
        with self._changed:
            self._rules[direction].cut_after = size

    def hold(self, direction: Direction) -> None:
        """Deliver nothing more in a direction, while connections stay open and can be made: a hole in the network."""
        with self._changed:
            self._rules[direction].held = True

    def release(self, direction: Direction) -> None:
        """Deliver what is held, and go on as usual."""
        with self._changed:
            self._rules[direction].held = False
            self._changed.notify_all()

    def delay(self, direction: Direction, seconds: float) -> None:
        """Deliver what comes in a direction later, in order. Zero ends it."""
        with self._changed:
            self._rules[direction].delay = seconds

    def swallow(self) -> None:
        """Swallow the next reply, and all that follow on its connection, which stays open."""
        with self._changed:
            self._rules["replies"].swallow = True

    def close(self) -> None:
        """End every connection and listen no more."""
        with self._changed:
            self._closed = True
            for connection in self._open:
                connection.cut()
            self._changed.notify_all()
        # The thread waits for a connection: give it one.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass
        self._accepting.join()
        for thread in self._forwarding:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # a server that is not there: the client's connection ends as soon as it was made
                client.close()
                server = None
            with self._changed:
                if self._closed or server is None:
                    client.close()
                    if server is not None:
                        server.close()
                    if self._closed:
                        return
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = _Connection(client, server)
                self.connections += 1
                self._open.append(connection)
                self._forwarding = [thread for thread in self._forwarding if thread.is_alive()]
                for direction in self._rules:
                    thread = threading.Thread(target=self._forward, args=(direction, connection), daemon=True)
                    self._forwarding.append(thread)
                    thread.start()

    def _forward(self, direction: Direction, connection: _Connection) -> None:
        """Move bytes until there are no more, or nobody who takes them."""
        ends = (connection.client, connection.server)
        source, target = ends if direction == "requests" else ends[::-1]
        mute = False
        with contextlib.suppress(OSError):
            while data := source.recv(64 << 10):
                if mute:
                    continue
                passes = self._judge(direction, len(data))
                mute = passes is None
                if passes is not None:
                    target.sendall(data[:passes])
                    if passes < len(data):
                        connection.cut()
        for end, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(how)
        with self._changed:
            if connection.half_done():
                self._open.remove(connection)

    def _judge(self, direction: Direction, size: int) -> int | None:
        """How many bytes pass, before the connection is cut if these are not all; none are swallowed. Waits while held."""
        rule = self._rules[direction]
        time.sleep(rule.delay)
        with self._changed:
            self._changed.wait_for(lambda: not rule.held or self._closed)
            if rule.swallow:
                rule.swallow = False
                return None
            if rule.cut_after is None:
                return size
            passes = min(size, rule.cut_after)
            rule.cut_after = None if passes < size else rule.cut_after - size
            return passes


@dataclass
class _Rule:
    held: bool = False
    swallow: bool = False
    cut_after: int | None = None
    delay: float = 0.0


class _Connection:
    """Both ends of a connection, which two threads forward."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self._forwarding = 2

    def cut(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def half_done(self) -> bool:
        """One direction has come to its end. Closes the ends and says so if it was the last."""
        self._forwarding -= 1
        if self._forwarding:
            return False
        self.client.close()
        self.server.close()
        return True
