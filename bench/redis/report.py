"""Makes tables of what the processes found, and says what was reached."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from bench.machine import machine

from .work import BATCH, CROWD, SWEEPS, TASKS

Figure = Callable[[dict[str, Any]], float]
Found = dict[str, list[dict[str, Any]]]

PACKAGES = {"donjon": "donjon", "redis-py": "redis", "valkey-glide": "valkey-glide"}


def rows() -> list[tuple[str, str, Figure]]:
    """The lines of the table: what is shown, how, and where it is found."""
    lines: list[tuple[str, str, Figure]] = []
    for tasks in TASKS:
        name = f"gets a second, {tasks:,} task{'s' if tasks > 1 else ''}"
        lines.append((name, ",.0f", lambda figures, tasks=tasks: figures["gets_a_second"][str(tasks)]))
    lines += [
        ("serial get, p50 µs", ",.0f", lambda figures: figures["p50"] / 1e3),
        ("serial get, p99 µs", ",.0f", lambda figures: figures["p99"] / 1e3),
        ("CPU s of 100,000 gets, serial", ",.2f", lambda figures: figures["serial_cpu"] / 1e4),
        ("CPU s of 100,000 gets, 100 tasks", ",.2f", lambda figures: figures["cpu_a_get"]["100"] / 1e4),
        (f"get_many of {BATCH}, µs", ",.0f", lambda figures: figures["get_many"] / 1e3),
        (f"set_many of {BATCH}, µs", ",.0f", lambda figures: figures["set_many"] / 1e3),
    ]
    for kind, count in SWEEPS.items():
        name = f"{count:,} of {CROWD:,} invalidated by pattern"
        lines.append((f"{name}, ms", ",.0f", lambda figures, kind=kind: figures["sweep"][kind] / 1e6))
        lines.append((f"{name}, CPU ms", ",.0f", lambda figures, kind=kind: figures["sweep_cpu"][kind] / 1e6))
    return lines


def ratio(found: Found, figure: Figure, over: str, under: str) -> float:
    """How many times the one is the other: the median over rounds."""
    return median(figure(a) / figure(b) for a, b in zip(found[over], found[under], strict=True))


def pings(found: Found, name: str, kind: str) -> list[int]:
    """All that the bystander waited during one kind of span, sorted."""
    return sorted(took for figures in found[name] for took in figures["pings"].get(kind, []))


def at(share: float, times: list[int]) -> float:
    """The time within which that share of the answers was there, in milliseconds."""
    return times[min(len(times) - 1, int(len(times) * share))] / 1e6


def table(head: list[str], lines: list[list[str]]) -> None:
    """Prints Markdown."""
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")


def cell(found: Found, name: str, how: str, figure: Figure) -> str:
    """A figure, and in brackets how many times donjon's it is."""
    try:
        text = format(median(map(figure, found[name])), how)
        return (
            text
            if name == "donjon" or "donjon" not in found
            else f"{text} ({ratio(found, figure, name, 'donjon'):.2f})"
        )
    except KeyError:
        return "–"


def goals(found: Found) -> list[tuple[str, float, str, float]]:
    """What is to be reached: a sentence, the figure, how it must compare, and with what."""
    lines: list[tuple[str, float, str, float]] = []

    def goal(peer: str, sentence: str, figure: Figure, how: str, limit: float) -> None:
        if peer in found:
            lines.append((sentence, ratio(found, figure, "donjon", peer), how, limit))

    throughput: Figure = lambda figures: figures["gets_a_second"]["100"]  # noqa: E731
    goal("redis-py", "gets a second with 100 tasks, times redis-py", throughput, "at least", 10)
    goal("floor", "gets a second with 100 tasks, share of the floor", throughput, "at least", 0.45)
    goal("redis-py", "CPU of a serial get, share of redis-py's", lambda figures: figures["serial_cpu"], "at most", 0.6)
    lines.append(("gets that failed with 1,000 tasks", sum(f["failed"]["1000"] for f in found["donjon"]), "at most", 0))
    for kind, count in SWEEPS.items():
        for peer in ("redis-py", "floor"):
            sentence = f"{count:,} invalidated by pattern, times SCAN and UNLINK by hand ({peer})"
            goal(peer, sentence, lambda figures, kind=kind: figures["sweep"][kind], "at most", 1.15)
        late = at(0.999, pings(found, "donjon", kind)) - at(0.999, pings(found, "donjon", "idle"))
        lines.append(("a bystander's p99.9 meanwhile, ms above idle", late, "at most", 5))
    return lines


def report(found: Found, redis: str, rounds: int) -> None:
    """Prints tables, goals and machine."""
    names = list(found)
    beside = " (and times donjon's)" if "donjon" in found else ""
    print(f"Median of {rounds} rounds{beside}\n")
    lines = [[title, *(cell(found, name, how, figure) for name in names)] for title, how, figure in rows()]
    lines.append(
        ["gets that failed, 1,000 tasks", *(f"{sum(f['failed']['1000'] for f in found[name]):,}" for name in names)]
    )
    table(["", *names], lines)

    print("\nWhat a bystander waits for PING, ms: p99.9, and the slowest\n")
    spans = {"idle": "idle"} | {kind: f"{count:,} of {CROWD:,} invalidated" for kind, count in SWEEPS.items()}
    lines = []
    for kind, title in spans.items():
        times = {name: pings(found, name, kind) for name in names}
        lines.append([title, *(f"{at(0.999, t):.1f}, {t[-1] / 1e6:.1f}" if t else "–" for t in times.values())])
    table(["", *names], lines)

    if "donjon" in found:
        print()
        for sentence, figure, how, limit in goals(found):
            reached = figure <= limit if how == "at most" else figure >= limit
            print(f"{'reached' if reached else 'NOT reached':12}{sentence}: {figure:.2f} (goal: {how} {limit:g})")
    packages = [PACKAGES.get(name, name) for name in names if name != "floor"]
    print(f"\n{machine(*packages, 'hiredis', 'uvloop', 'orjson')}; Redis {redis}")
