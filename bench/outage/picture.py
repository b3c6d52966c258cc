"""Draws what a run saw: latency of reads and of changes, and the age of answers, over time, with the faults as bands behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import log10

WIDTH, LEFT, RIGHT = 920, 74, 16
PANEL, GAP, TOP = 130, 44, 44
STEP = 0.25
"""Seconds that one point of a line stands for."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Band:
    """A fault: from when to when, in seconds of the run."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Line:
    """Values over seconds of the run."""

    name: str
    colour: str
    points: list[Point]


@dataclass(frozen=True)
class Panel:
    """Lines over one axis, in milliseconds, each tick ten times the one below it."""

    title: str
    lines: list[Line]


def over_time(values: Iterable[Point], figure: Callable[[list[float]], float]) -> list[Point]:
    """One figure for each step of time that has values."""
    steps: dict[int, list[float]] = {}
    for at, value in values:
        steps.setdefault(int(at / STEP), []).append(value)
    return [(step * STEP + STEP / 2, figure(steps[step])) for step in sorted(steps)]


def draw(panels: list[Panel], bands: list[Band], seconds: float, caption: str) -> str:
    """An SVG."""
    height = TOP + len(panels) * (PANEL + GAP) + 24
    across = (WIDTH - LEFT - RIGHT) / seconds
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for band in bands:
        x, width = LEFT + band.start * across, (band.end - band.start) * across
        out.append(f'<rect x="{x:.1f}" y="{TOP - 6}" width="{width:.1f}" height="{height - TOP - 40}" fill="#f3e3dc"/>')
        out.append(
            f'<text x="{x + width / 2:.1f}" y="{TOP - 14}" text-anchor="middle" fill="#8a3b1c">{band.name}</text>'
        )
    for number, panel in enumerate(panels):
        out.extend(_panel(panel, TOP + number * (PANEL + GAP), across))
    for second in range(0, int(seconds) + 1, 5):
        x = LEFT + second * across
        out.append(f'<text x="{x:.1f}" y="{height - 34}" text-anchor="middle" fill="#555">{second} s</text>')
    out.append(f'<text x="{LEFT}" y="{height - 10}" fill="#555">{caption}</text>')
    return "\n".join([*out, "</svg>", ""])


def _panel(panel: Panel, top: float, across: float) -> Iterable[str]:
    highest = max((value for line in panel.lines for _, value in line.points), default=1)
    decades = max(1, len(str(int(highest))))

    def height(value: float) -> float:
        return top + PANEL - log10(max(value, 1)) / decades * PANEL

    for decade in range(decades + 1):
        y = height(10**decade)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        label = f"{10**decade:,} ms" if decade else "≤ 1 ms"
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{label}</text>'
    yield f'<text x="{LEFT + 6}" y="{top + 14}" font-weight="bold" fill="#222">{panel.title}</text>'
    for number, line in enumerate(panel.lines):
        points = " ".join(f"{LEFT + at * across:.1f},{height(value):.1f}" for at, value in line.points)
        yield f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.4"/>'
        x = WIDTH - RIGHT - 90 * (len(panel.lines) - number)
        yield f'<text x="{x}" y="{top + 14}" fill="{line.colour}">{line.name}</text>'
