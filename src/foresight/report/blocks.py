"""What a page is made of; the template knows how to show each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from foresight.report.canvas import Drawing

Tone = Literal["", "good", "bad", "open", "small"]


@dataclass(frozen=True)
class Note:
    """A paragraph; the tone colours it, its words must say the same. `file`: a page beside this one
    that it leads to."""

    text: str
    tone: Tone = ""
    file: str = ""
    kind: str = "note"


@dataclass(frozen=True)
class Table:
    """Text cells; the first of each row is its header."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A drawing with its caption."""

    drawing: Drawing
    kind: str = "figure"


@dataclass(frozen=True)
class Fold:
    """Blocks behind a line to click on; printed open where the browser can."""

    summary: str
    blocks: Sequence[Block]
    opened: bool = False
    kind: str = "fold"


Block = Note | Table | Picture | Fold


@dataclass(frozen=True)
class Section:
    """A chapter of the page; `anchor` is its id."""

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)


def render(title: str, subtitle: str, chapters: Sequence[Section]) -> str:
    """The self-contained HTML page; all text is escaped."""
    # Imported here: the terminal shows tables too, and needs no template.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("foresight.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(title=title, subtitle=subtitle, chapters=chapters)
