"""Draws what a run saw over time: lines in panels one below the other, with what was done meanwhile as bands behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil, log10

WIDTH, LEFT, RIGHT = 920, 74, 16
PANEL, GAP, TOP = 130, 44, 44
NAME = 90
"""What the name of a line takes at most."""
TICKS = 10
"""So many marks of time at most."""
STEPS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds that can lie between two of them."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Band:
    """A fault: from when to when, in seconds of the run."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Line:
    """Values over seconds of the run. Several may share a name, and are told apart by where they are."""

    name: str
    colour: str
    points: list[Point]


@dataclass(frozen=True)
class Milliseconds:
    """An axis of which each tick is ten times the one below it, and the lowest all that is shorter."""

    def ticks(self, highest: float) -> list[tuple[float, str]]:
        """The values with a mark, and what it says."""
        decades = max(1, len(str(int(highest))))
        return [(10**decade, f"{10**decade:,} ms" if decade else "≤ 1 ms") for decade in range(decades + 1)]

    def share(self, value: float, top: float) -> float:
        """How far up a value is, of the highest tick."""
        return log10(max(value, 1)) / log10(top)


@dataclass(frozen=True)
class Even:
    """An axis that begins at nothing, with four ticks as far from one another."""

    unit: str

    def ticks(self, highest: float) -> list[tuple[float, str]]:
        """The values with a mark, and what it says."""
        step = next(size for size in (1, 2, 5, 10, 20, 25, 50, 100, 250, 500, ceil(highest)) if size * 4 >= highest)
        return [(tick * step, f"{tick * step} {self.unit}") for tick in range(5)]

    def share(self, value: float, top: float) -> float:
        """How far up a value is, of the highest tick."""
        return value / top


@dataclass(frozen=True)
class Panel:
    """Lines over one axis."""

    title: str
    lines: list[Line]
    axis: Milliseconds | Even = field(default_factory=Milliseconds)


def over_time(values: Iterable[Point], figure: Callable[[list[float]], float], step: float) -> list[Point]:
    """One figure for each step of time that has values, in seconds."""
    steps: dict[int, list[float]] = {}
    for at, value in values:
        steps.setdefault(int(at / step), []).append(value)
    return [(number * step + step / 2, figure(steps[number])) for number in sorted(steps)]


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
    step = next((step for step in STEPS if step * TICKS >= seconds), ceil(seconds / TICKS))
    for second in range(0, int(seconds) + 1, step):
        x = LEFT + second * across
        out.append(f'<text x="{x:.1f}" y="{height - 34}" text-anchor="middle" fill="#555">{_time(second, step)}</text>')
    out.append(f'<text x="{LEFT}" y="{height - 10}" fill="#555">{caption}</text>')
    return "\n".join([*out, "</svg>", ""])


def _time(second: int, step: int) -> str:
    return f"{second} s" if step < 60 else f"{second // 60} min"


def _panel(panel: Panel, top: float, across: float) -> Iterable[str]:
    ticks = panel.axis.ticks(max((value for line in panel.lines for _, value in line.points), default=1))
    highest = ticks[-1][0]

    def height(value: float) -> float:
        return top + PANEL - panel.axis.share(value, highest) * PANEL

    for tick, label in ticks:
        y = height(tick)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{label}</text>'
    yield f'<text x="{LEFT + 6}" y="{top + 14}" font-weight="bold" fill="#222">{panel.title}</text>'
    for line in panel.lines:
        points = " ".join(f"{LEFT + at * across:.1f},{height(value):.1f}" for at, value in line.points)
        yield f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.4"/>'
    named = list({line.name: line.colour for line in panel.lines}.items())
    for number, (name, colour) in enumerate(named):
        x = WIDTH - RIGHT - NAME * (len(named) - number)
        yield f'<text x="{x}" y="{top + 14}" fill="{colour}">{name}</text>'
