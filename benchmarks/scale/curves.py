"""How it grows, drawn: every curve of the table over the number of pins, both axes logarithmic, as one SVG."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

from benchmarks.scale.row import Row

WIDTH, HEIGHT = 880, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 330, 20, 50
COLOURS = ("#3b82f6", "#ef4444", "#10b981", "#f59e0b", "#8b5cf6", "#64748b", "#db2777", "#0d9488")
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #334155 }
.grid { stroke: #cbd5e1; stroke-width: 1 } .curve { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #cbd5e1 } .grid { stroke: #475569 } }
"""


def drawn(rows: list[Row]) -> str:
    """The drawing; dark on what is light and light on what is dark. `rows` have points of two sizes at least."""
    curves = defaultdict[str, list[tuple[int, float]]](list)
    for row in rows:
        if row.curve:
            curves[f"{row.curve} ({row.unit})"].append((row.pins, max(row.figure, 0.01)))
    points = [point for curve in curves.values() for point in curve]
    across = _decades([pins for pins, _ in points])
    up = _decades([figure for _, figure in points])

    def x(pins: float) -> float:
        share = (math.log10(pins) - across[0]) / max(1, across[-1] - across[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(figure: float) -> float:
        share = (math.log10(figure) - up[0]) / max(1, up[-1] - up[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts.append(f"<title>Cost over the number of pins</title><style>{STYLE}</style>")
    for decade in across:
        at = x(10.0**decade)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{10**decade:,}</text>'
        )
    for decade in up:
        at = y(10.0**decade)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 10}" text-anchor="middle">pins</text>')
    ends = _apart({name: y(max(curve)[1]) for name, curve in curves.items()})
    for (name, curve), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
        curve.sort()
        line = " ".join(f"{x(pins):.1f},{y(figure):.1f}" for pins, figure in curve)
        parts.append(f'<polyline class="curve" stroke="{colour}" points="{line}"/>')
        parts += [
            f'<circle cx="{x(pins):.1f}" cy="{y(one):.1f}" r="3" fill="{colour}"/>' for pins, one in curve
        ]
        said = name.replace("&", "&amp;").replace("<", "&lt;")
        parts.append(f'<circle cx="{WIDTH - RIGHT + 12}" cy="{ends[name]:.1f}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 22}" y="{ends[name] + 4:.1f}">{said}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: list[float] | list[int]) -> list[int]:
    """The powers of ten from the last below all of them to the first above."""
    return list(range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1))


def _apart(ends: dict[str, float], gap: float = 18.0) -> dict[str, float]:
    """Where the names of curves stand, so that none covers another."""
    order = sorted(ends, key=lambda name: ends[name])
    for one, other in pairwise(order):
        ends[other] = max(ends[other], ends[one] + gap)
    over = max(0.0, ends[order[-1]] - (HEIGHT - BOTTOM)) if order else 0.0
    return {name: at - over for name, at in ends.items()}
