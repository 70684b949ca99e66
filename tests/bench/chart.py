"""Bars by hand: what a build costs with us and with what people use today, as an SVG that any browser shows."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.bench.report import middle

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.report import Middle
    from tests.bench.targets import Results

ROWS = {
    "docker-zstd": "docker pull, save, zstd -16",
    "gzip-zstd": "gzip layers, zstd -16",
    "own-cold": "k3s-bundler, first build",
    "own-one-changed": "k3s-bundler, 1 image changed",
    "own-unchanged": "k3s-bundler, nothing changed",
}

PANELS: tuple[tuple[str, Callable[[Middle], float], str], ...] = (
    ("wall time", lambda figures: figures.wall, "{:.1f} s"),
    ("CPU time", lambda figures: figures.cpu, "{:.1f} s"),
    ("size", lambda figures: figures.size / 1e6, "{:.0f} MB"),
)

_LEFT, _BAR, _PITCH, _PANEL = 210, 150, 26, 240
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.ours { fill: #1a7f37 }
.theirs { fill: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #3fb950 } .theirs { fill: #6e7681 } }
"""


def chart(results: Results) -> str:
    """Draw a panel for each figure, all bars from zero."""
    rows = [(name, title, middle(results[name])) for name, title in ROWS.items() if name in results]
    width, height = _LEFT + _PANEL * len(PANELS), 50 + _PITCH * len(rows)
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", role="img")
    ET.SubElement(root, "title").text = "Cost of a build by wall time, CPU time and size"
    ET.SubElement(root, "style").text = _STYLE
    for line, (_, title, _figures) in enumerate(rows):
        _text(root, _LEFT - 12, 56 + line * _PITCH, title, anchor="end")
    for column, (title, figure, form) in enumerate(PANELS):
        left = _LEFT + column * _PANEL
        _text(root, left, 26, title, kind="title")
        most = max((figure(figures) for _, _, figures in rows), default=1)
        for line, (name, _, figures) in enumerate(rows):
            _bar(root, left, 42 + line * _PITCH, figure(figures) / most, name)
            _text(root, left + _BAR * figure(figures) / most + 8, 56 + line * _PITCH, form.format(figure(figures)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _bar(root: ET.Element, left: float, top: float, share: float, name: str) -> None:
    box = {"x": f"{left}", "y": f"{top}", "width": f"{max(1, _BAR * share):.1f}", "height": "18", "rx": "2"}
    ET.SubElement(root, "rect", {**box, "class": "ours" if name.startswith("own") else "theirs"})


def _text(root: ET.Element, left: float, base: float, content: str, *, kind: str = "", anchor: str = "start") -> None:
    place = {"x": f"{left:.1f}", "y": f"{base}", "text-anchor": anchor}
    ET.SubElement(root, "text", {**place, **({"class": kind} if kind else {})}).text = content
