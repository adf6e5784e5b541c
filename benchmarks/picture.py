"""The SVG of a run: one bar per figure, in units of its target. Bars that cross the target line meet it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.frame import Result

LABELS, BARS, NUMBERS, LINE, TOP = 430, 360, 250, 34, 56
MOST = 2.0  # times the target; longer bars are cut there
GOOD, BAD, PLAIN = "#2f855a", "#c53030", "#718096"


def picture(results: Sequence[Result]) -> str:
    """An SVG of the figures that have a limit or a target."""
    shown = [result for result in results if result.ratio is not None or result.row.target is not None]
    width, height = LABELS + BARS + NUMBERS, TOP + LINE * len(shown) + 16
    target = LABELS + BARS / MOST
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(16, 24, "Scrip's figures beside the limits of the machine, in one run", "#1a202c", 'font-weight="600"'),
        _text(target, 46, "target", PLAIN, 'text-anchor="middle"'),
        *(line for index, result in enumerate(shown) for line in _bar(result, TOP + LINE * index)),
        f'<path d="M{target} {TOP - 4}V{height - 12}" stroke="#1a202c" stroke-dasharray="3 3"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(result: Result, top: int) -> list[str]:
    """The name, the bar and the numbers of a figure."""
    row = result.row
    colour = PLAIN if result.met is None else GOOD if result.met else BAD
    length = BARS * min(_reached(result), MOST) / MOST
    return [
        _text(LABELS - 12, top + 19, f"{row.id}  {row.what}", "#1a202c", 'text-anchor="end" font-size="12"'),
        f'<rect x="{LABELS}" y="{top + 5}" width="{length:.1f}" height="{LINE - 14}" rx="2" fill="{colour}"/>',
        _text(LABELS + BARS + 12, top + 19, _numbers(result), colour),
    ]


def _reached(result: Result) -> float:
    """The figure in units of its target, or else of its limit; inverted where lower is better."""
    figure = result.value if result.ratio is None else result.ratio
    if result.row.target is None:
        return figure
    return result.row.target / figure if result.row.at_most else figure / result.row.target


def _numbers(result: Result) -> str:
    ratio = f" = {result.ratio:.2f} × {result.row.limit}" if result.ratio is not None else ""
    return f"{result.value:,.0f} {result.row.unit}{ratio}"


def _text(x: float, y: float, text: str, colour: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" {more}>{escape(text)}</text>'
