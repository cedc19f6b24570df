"""Matplotlib without pyplot: one palette, inline SVG that follows the page's theme, and files."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from foresight.errors import UserError
from foresight.runs import write_atomic

# Drawn in the light colours; the inline SVG names them as CSS variables, which the page's
# style sheet sets for light and dark. So no two may be equal.
INK, MUTED, GRID = "#1f2430", "#586172", "#d5dae2"
FIT, SEEN, SECOND, THIRD = "#1d5bb8", "#c2410b", "#0e726a", "#7a35d8"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    FIT: "--fit",
    SEEN: "--seen",
    SECOND: "--second",
    THIRD: "--third",
    # What matplotlib fills hollow markers with: the paper.
    "#fefefe": "--paper",
}
PAPER = "#fefefe"
_FONT = 9.0
_DOTS_PER_INCH = 160


@dataclass(frozen=True)
class Drawing:
    """A figure on the page. `title` and `description` are read out instead of the picture."""

    svg: Markup
    caption: str


def new(
    height: float, rows: int = 1, columns: int = 1, width: float = 7.2
) -> tuple[Figure, list[Axes]]:
    """An empty figure in inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = [one for row in grid for one in row]
    for one in axes:
        _style(one)
    return figure, axes


def _style(axes: Axes) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    axes.tick_params(which="both", colors=MUTED, labelsize=_FONT - 0.5)
    axes.tick_params(which="minor", length=2)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def label(axes: Axes, x: str = "", y: str = "", title: str = "") -> None:
    if x:
        axes.set_xlabel(plain(x), color=INK, fontsize=_FONT)
    if y:
        axes.set_ylabel(plain(y), color=INK, fontsize=_FONT)
    if title:
        axes.set_title(plain(title), color=INK, fontsize=_FONT, loc="left")


def legend(axes: Axes, place: Literal["best", "upper left", "upper right"] = "best") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, frameon=False, fontsize=_FONT - 1, labelcolor=INK)


def plain(text: str) -> str:
    """Text from a file, safe in a label: dollars start no formula, control characters go."""
    return "".join(c for c in text if c.isprintable()).replace("$", r"\$")[:120]


def inline(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an SVG element for an HTML page: themed, labelled, no address in it.

    `name` is prefixed to every id, so that several figures share one page.
    """
    svg = _svg(figure, name, transparent=True)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(?:id)="', f' id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None, "matplotlib writes a viewBox"
    head = (
        f'<svg {box[0]} role="img" aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-description">{escape(description)}</desc>'
    )
    return Markup(head + svg[svg.index(">") + 1 :].strip())


def files(figure: Figure, name: str) -> tuple[str, bytes]:
    """The figure, drawn before by `inline`, on white: text of an SVG file, bytes of a PNG file."""
    figure.set_layout_engine("none")  # laid out already: a third of the time of a drawing
    png = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(
        png, format="png", dpi=_DOTS_PER_INCH, facecolor="white", metadata={"Software": None}
    )
    return _svg(figure, name, transparent=False), png.getvalue()


def write(figure: Figure, path: Path, name: str) -> None:
    """The figure as an .svg or .png file. Raises UserError for any other."""
    if path.suffix not in (".svg", ".png"):
        raise UserError(f"{path}: unknown kind {path.suffix!r}; expected .svg or .png")
    figure.draw_without_rendering()  # lays it out
    svg, png = files(figure, name)
    write_atomic(path, svg if path.suffix == ".svg" else png)


def _svg(figure: Figure, name: str, transparent: bool) -> str:
    stream = io.StringIO()
    FigureCanvasSVG(figure)
    # Text stays text (searchable, read out, small); ids are hashes salted by the name: same
    # figure, same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            stream,
            format="svg",
            transparent=transparent,
            facecolor="none" if transparent else "white",
            metadata={"Date": None, "Creator": None},
        )
    return stream.getvalue()
