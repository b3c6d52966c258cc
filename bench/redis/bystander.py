"""A bystander: sends PING to Redis each millisecond, and notes how long the answers took.

A process of its own, so that it is held up by the server and by nothing that the client under test does. It writes a line once it
is connected, and runs until its standard input ends; then it writes pairs of 64-bit integers: when PING was sent, on the machine's
monotonic clock, and how many nanoseconds later the answer was there.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic_ns, sleep

EVERY_NS = 1_000_000

Sample = tuple[int, int]


@contextmanager
def pinging(port: int) -> Iterator[list[Sample]]:
    """Has one ping from its first PING on until the end of the block; the list has then what it saw."""
    command = [sys.executable, "-m", "bench.redis.bystander", str(port)]
    samples: list[Sample] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield samples
        process.stdin.close()
        numbers = array("q", process.stdout.read())
    samples.extend(zip(numbers[::2], numbers[1::2], strict=True))


def main() -> None:
    """Pings the port that the command line names."""
    samples = array("q")
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            sent = monotonic_ns()
            server.sendall(b"PING\r\n")
            server.recv(64)
            took = monotonic_ns() - sent
            samples.extend((sent, took))
            sleep(max(0, EVERY_NS - took) / 1e9)
    sys.stdout.buffer.write(samples.tobytes())


def between(samples: list[Sample], start: int, end: int) -> list[int]:
    """How long each answer took of what was sent in a span of time.

    An answer that was late kept further PINGs from being sent; they are put in as they would have fared, or one long
    halt of the server would count as a single slow PING.
    """
    found = []
    for sent, took in samples:
        if start <= sent + took and sent <= end:
            found.extend(range(took, 0, -EVERY_NS))
    return found


if __name__ == "__main__":
    main()
