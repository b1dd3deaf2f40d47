"""Series of numbers as a picture: SVG that needs nothing else, and looks right on light and dark pages."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from .metrics import Series, thinned

WIDTH, HEIGHT = 640, 200  # of one curve, in the units of the picture
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 28, 24  # around the field of a curve
POINTS = 300  # of a curve that is drawn
_UNSEEN = re.compile("[^\x20-\x7e\xa0-\u202a\u202f-\u2065\u2070-\ud7ff\ue000-\ufffd]")
STYLE = (
    ".curves text{font:12px system-ui,sans-serif;fill:#59636e}.curves .n{font-weight:600;fill:#1b1f24}"
    ".curves polyline{fill:none;stroke:#0969da;stroke-width:1.5;stroke-linejoin:round}.curves circle{fill:#0969da}"
    ".curves line{stroke:#d1d9e0}@media(prefers-color-scheme:dark){.curves text{fill:#9198a1}.curves .n{fill:#e6edf3}"
    ".curves polyline{stroke:#54aeff}.curves circle{fill:#54aeff}.curves line{stroke:#3d444d}}"
)


def svg(series: Sequence[Series], title: str, style: str = STYLE) -> str:
    """A picture of these curves, one under the other.

    Args:
        title: what is read out in place of the picture. style: empty for a page that has `STYLE` already.
    """
    curves = "".join(_curve(item, number * HEIGHT) for number, item in enumerate(series))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" viewBox="0 0 {WIDTH} {HEIGHT * len(series)}"'
        f' role="img" aria-label="{_text(title)}">{f"<style>{style}</style>" if style else ""}{curves}</svg>'
    )


def _curve(series: Series, top: int) -> str:
    drawn = thinned(series, POINTS)
    low, high = min(drawn.y), max(drawn.y)
    first, last = min(drawn.x), max(drawn.x)
    points = [
        (
            LEFT + share(x, first, last) * (WIDTH - LEFT - RIGHT),
            top + HEIGHT - BOTTOM - share(y, low, high) * (HEIGHT - TOP - BOTTOM),
        )
        for x, y in zip(drawn.x, drawn.y, strict=True)
    ]
    base, ceiling = top + HEIGHT - BOTTOM, top + TOP
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [
        f'<text class="n" x="{LEFT}" y="{top + 18}">{_text(series.name)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{top + 18}" text-anchor="end">{_text(summary(series))}</text>',
        *(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>' for y in (base, ceiling)),
        f'<text x="{LEFT - 6}" y="{ceiling + 4}" text-anchor="end">{number(high)}</text>',
        f'<text x="{LEFT}" y="{base + 16}">{number(first)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{base + 16}" text-anchor="middle">{series.axis}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{base + 16}" text-anchor="end">{number(last)}</text>',
        f'<polyline points="{line}"/>',
    ]
    if low != high:
        parts.append(f'<text x="{LEFT - 6}" y="{base + 4}" text-anchor="end">{number(low)}</text>')
    if len(points) < 30:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points]
    return "".join(parts)


def share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1; in the middle if they are one."""
    if low == high:
        return 0.5
    scale = max(abs(low), abs(high), 1.0)  # their difference may be more than a number can be
    return (value / scale - low / scale) / (high / scale - low / scale)


def number(value: float) -> str:
    """A number in few characters."""
    return f"{value:.4g}"


def summary(series: Series) -> str:
    """What a reader wants to know first: where the values began and are now, and the best of them."""
    low, high = min(series.y), max(series.y)
    return f"{number(series.y[0])} to {number(series.y[-1])}, lowest {number(low)}, highest {number(high)}"


def _text(content: str) -> str:
    return html.escape(_UNSEEN.sub("\ufffd", content))
