"""Soaks donjon: the history test for as long as wanted, checked while it runs, with the memory of each process and the time of reads watched.

python tests/history/soak.py --minutes 10

Nobody is killed, as memory that grows shows in a process that lives: the nemesis does all else that it does. Ends with the checker's
verdict, and writes `docs/soak.md` out of `page.md` beside this file, and `docs/soak.svg`.
"""

from __future__ import annotations

import argparse
import datetime
import random
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median, quantiles

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(TOP), str(HERE.parent / "redis/python")]

from bench.machine import machine  # noqa: E402
from bench.picture import Even, Line, Panel, Point, draw  # noqa: E402

from check import Checker, Report  # noqa: E402
from fleet import Fleet  # noqa: E402
from history import Read, Tail, language, now  # noqa: E402
from nemesis import DEEDS, Nemesis  # noqa: E402
from outside import Outside  # noqa: E402
from plan import Plan  # noqa: E402
from redis_server import RedisServer  # noqa: E402
from run import LANGUAGES, begin, donjon, harm  # noqa: E402

__all__ = ["Growth", "Watch", "growth"]

DOCS = TOP / "docs"
STEP = 5.0
"""Seconds from one look to the next."""
ON_DISK = 15_000_000_000
"""Nanoseconds after which what a process did is written down, though it was stopped in between."""
REMEMBERED = 120_000_000_000
"""Nanoseconds for which a read may be under way, and a value be older than what invalidated it, to be checked."""
WARM = 1 / 3
"""The share of a run in which memory may grow: what is used at all is loaded, what is bounded fills."""
GROWTH = 0.05
"""The share of what a process takes by which it may grow after that."""
GROWTH_LEAST = 2.0
"""MiB that count as nothing, however small a process is."""
COLOURS = {"python": "#2f6f9f", "rust": "#c0562f", "node": "#5b8c3a"}


@dataclass(frozen=True)
class Growth:
    """What became of the memory of a process after it was warm, in MiB: of all that it has in use, or of what is alive in it."""

    process: str
    typical: float
    most: float
    grew: float
    """By how much over all that time, by the straight line that fits best."""

    @property
    def is_flat(self) -> bool:
        """Whether that is what comes and goes."""
        return self.grew <= max(GROWTH * self.typical, GROWTH_LEAST)

    def __str__(self) -> str:
        said = f"{self.process}: {self.typical:.1f} MiB, {self.most:.1f} at most, {self.grew:+.1f} over the last two thirds"
        return said if self.is_flat else f"{said}: IT GROWS"


Grown = dict[str, Growth]
"""That of each process, by its name."""


def growth(taken: Mapping[str, Sequence[Point]]) -> Grown:
    """Judges what processes took, in MiB by seconds of the run."""
    return {process: _growth(process, points) for process, points in taken.items()}


def _growth(process: str, points: Sequence[Point]) -> Growth:
    warm = [point for point in points if point[0] >= WARM * points[-1][0]]
    times, taken = zip(*warm, strict=True)
    slope = linear_regression(times, taken).slope
    return Growth(process, median(taken), max(taken), slope * (times[-1] - times[0]))


@dataclass
class Watch:
    """Looks again and again at what processes take, and at what they have written down since."""

    fleet: Fleet
    logs: Path
    checker: Checker
    memory: dict[str, list[Point]] = field(default_factory=dict)
    """MiB of each process."""
    alive: dict[str, list[Point]] = field(default_factory=dict)
    """MiB of what is alive in each process that collects its garbage."""
    middle: dict[str, list[Point]] = field(default_factory=dict)
    """Milliseconds of a read in each language, at the median."""
    long: dict[str, list[Point]] = field(default_factory=dict)
    """As long as one read of a hundred took at least."""
    behind: list[Point] = field(default_factory=list)
    """Milliseconds by which the latest read from memory was behind another process."""

    def __post_init__(self) -> None:
        self._tail = Tail(self.logs)
        self._begun = now()

    def run(self, over: threading.Event) -> None:
        """Looks until the run is over."""
        while not over.wait(STEP):
            for process, pid in self.fleet.processes().items():
                self.memory.setdefault(process, []).append((self._seconds(now()), resident(pid)))
            self._check(now() - ON_DISK)

    def end(self) -> Report:
        """Checks what is left once the processes have ended; what all of it shows."""
        self._check(now())
        return self.checker.end()

    def _check(self, until: int) -> None:
        part = self._tail.part(until)
        shown = self.checker.take(part)
        self.checker.forget(until - REMEMBERED)
        for alive in part.alive:
            self.alive.setdefault(alive.process, []).append((self._seconds(alive.at), alive.bytes / 2**20))
        at = self._seconds(until)
        if part.read:
            self.behind.append((at, max(shown.furthest.values(), default=0) / 1e6))
        for who, took in _took(part.read):
            hundredths = quantiles(took, n=100)
            self.middle.setdefault(who, []).append((at, hundredths[49]))
            self.long.setdefault(who, []).append((at, hundredths[98]))

    def _seconds(self, moment: int) -> float:
        return (moment - self._begun) / 1e9


def resident(pid: int) -> float:
    """MiB of memory that a process has in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory: it ended")


def _took(reads: Iterable[Read]) -> Iterator[tuple[str, list[float]]]:
    for who in LANGUAGES:
        took = [(read.ended - read.begun) / 1e6 for read in reads if language(read.process) == who]
        if len(took) > 1:
            yield who, took


def soak(seconds: float, seed: int, folder: Path) -> tuple[Report, Watch]:
    """Runs processes of all languages for some seconds.

    Raises:
        RuntimeError: A process failed by itself.
    """
    programs = donjon()
    logs = begin("soak", programs, seconds, seed, folder)
    with RedisServer() as server:
        plan = Plan.of(server.url, folder / "source", seed)
        plan.save(folder / "plan.json")
        fleet = Fleet(programs, folder / "plan.json", logs, seed)
        nemesis = Nemesis(server, fleet, seed, {deed: often for deed, often in DEEDS.items() if deed != "kill"})
        watch = Watch(fleet, logs, Checker(LANGUAGES))
        harm(seconds, fleet, [nemesis, Outside(server.port, plan, logs), watch])
    return watch.end(), watch


def picture(watch: Watch, caption: str) -> str:
    """The run over time."""

    def by_language(points: dict[str, list[Point]]) -> list[Line]:
        return [Line(who, COLOURS[who], points[each]) for who in LANGUAGES for each in points if language(each) == who]

    panels = [
        Panel("memory of each process", by_language(watch.memory), Even("MiB")),
        Panel("alive in each process in Node", by_language(watch.alive), Even("MiB")),
        Panel("a read took, at the median", by_language(watch.middle)),
        Panel("one read of a hundred took at least", by_language(watch.long)),
        Panel("reads from memory were behind by at most", [Line("", "#7a4f9a", watch.behind)]),
    ]
    return draw(panels, [], watch.behind[-1][0], caption)


def page(report: Report, resident: Grown, alive: Grown, minutes: float, seed: int) -> str:
    """The page in the documentation."""
    rows = ["| process | MiB | at most | grew by | alive, MiB | grew by |", "|---|--:|--:|--:|--:|--:|"]
    for process, taken in resident.items():
        lives = f"{alive[process].typical:.1f} | {alive[process].grew:+.1f}" if process in alive else "|"
        rows.append(f"| {process} | {taken.typical:.0f} | {taken.most:.0f} | {taken.grew:+.1f} | {lives} |")
    said = {
        "minutes": f"{minutes:g}",
        "date": datetime.date.today().isoformat(),
        "machine": machine("donjon"),
        "seed": str(seed),
        "memory": "\n".join(rows),
        "verdict": str(report),
    }
    text = (HERE / "page.md").read_text()
    for name, value in said.items():
        text = text.replace("{" + name + "}", value)
    return text


def main() -> int:
    """Soaks for as long as the command line says; 1 where the promise does not hold, too little was tried, or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page and the picture go")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="donjon-soak-") as scratch:
        report, watch = soak(said.minutes * 60, said.seed, Path(scratch) / "run")
    resident, alive = growth(watch.memory), growth(watch.alive)
    judged = resident | alive
    print(report)
    print("\n".join(map(str, judged.values())))
    for shortfall in report.shortfalls:
        print(f"tried too little: {shortfall}")
    caption = f"{len(judged)} processes, {report.reads.total():,} reads; {report.stale_reads} of them stale"
    (said.docs / "soak.svg").write_text(picture(watch, caption))
    (said.docs / "soak.md").write_text(page(report, resident, alive, said.minutes, said.seed))
    is_flat = all(each.is_flat for each in judged.values())
    return bool(report.stale_reads or report.faults or report.shortfalls or not is_flat)


if __name__ == "__main__":
    sys.exit(main())
