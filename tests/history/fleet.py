"""The worker processes of a run: starts them, starts them again when they were killed, and hears when one fails by itself."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Fleet", "Program"]

END_WITHIN = 25.0


@dataclass(frozen=True)
class Program:
    """A worker: what it is called, and how it is run for a plan, a log and a seed."""

    name: str
    command: Callable[[Path, Path, str], list[str]]


class Fleet:
    """Processes, each with a place in the fleet that its successors take over."""

    def __init__(self, programs: Sequence[Program], plan: Path, folder: Path, seed: int) -> None:
        self._plan = plan
        self._folder = folder
        self._seed = seed
        self._lock = threading.Lock()
        self._seats = [_Seat(number, program) for number, program in enumerate(programs)]
        for seat in self._seats:
            self._start(seat)

    def kill_one(self, chance: random.Random) -> None:
        """Ends one at once, without a word, and starts another in its place."""
        with self._lock:
            seat = chance.choice([seat for seat in self._seats if not seat.stopped])
            seat.kill()
            self._start(seat)

    def stall_one(self, chance: random.Random, seconds: float) -> None:
        """Stops one where it stands for some seconds; meanwhile the caller goes on."""
        with self._lock:
            seat = chance.choice([seat for seat in self._seats if not seat.stopped])
            seat.stopped = True
            seat.process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(seconds, self._go_on, [seat])
        timer.daemon = True
        timer.start()

    def processes(self) -> dict[str, int]:
        """The number that the system knows each by, by its name."""
        with self._lock:
            return {seat.label: seat.process.pid for seat in self._seats}

    def failures(self) -> list[str]:
        """What those said that ended by themselves, which none may."""
        with self._lock:
            return [self._said(seat) for seat in self._seats if seat.process.poll() is not None]

    def end(self) -> list[str]:
        """Lets all come to their end, and returns what those said that did so badly."""
        bad = self.failures()
        for seat in self._seats:
            self._go_on(seat)
            seat.close()
        deadline = time.monotonic() + END_WITHIN
        for seat in self._seats:
            try:
                if seat.process.wait(max(0.1, deadline - time.monotonic())) and not bad:
                    bad.append(self._said(seat))
            except subprocess.TimeoutExpired:
                seat.kill()
                bad.append(f"{seat.label} did not end within {END_WITHIN:.0f} s")
        return bad

    def _start(self, seat: _Seat) -> None:
        seat.lives += 1
        log = self._folder / f"{seat.label}.jsonl"
        with (self._folder / f"{seat.label}.err").open("wb") as errors:
            seat.process = subprocess.Popen(
                seat.program.command(self._plan, log, f"{self._seed}/{seat.label}"),
                stdin=subprocess.PIPE,
                stderr=errors,
            )

    def _go_on(self, seat: _Seat) -> None:
        with self._lock:
            seat.stopped = False
            seat.process.send_signal(signal.SIGCONT)

    def _said(self, seat: _Seat) -> str:
        text = (self._folder / f"{seat.label}.err").read_text(errors="replace").strip()
        return f"{seat.label} ended with status {seat.process.returncode}: {text[-2000:]}"


class _Seat:
    process: subprocess.Popen[bytes]

    def __init__(self, number: int, program: Program) -> None:
        self.number = number
        self.program = program
        self.lives = 0
        self.stopped = False

    @property
    def label(self) -> str:
        return f"{self.number}-{self.program.name}-{self.lives}"

    def close(self) -> None:
        """Ends the input of the process, by which it knows that the run is over."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()
