"""Figure 2: mean log pass rate of every difficulty bucket against compute, registered and observed.

After Figure 2 of the GPT-4 report (section 3.2), which shows one bucket of six.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import BaseModel, Field

from foresight.report.blocks import Block, Note, Picture, Section, Table
from foresight.report.canvas import FIT, INK, SEEN, Drawing, inline, label, legend, new
from foresight.report.evidence import checked
from foresight.report.figures import flop_ticks
from foresight.report.tables import shown
from foresight.report.words import NONE, interval, number, plural, power, short

TITLE = "Figure 2: pass rates by difficulty, forecast and observed"
COLUMNS = 3


class Target(BaseModel):
    run: str
    compute_flops: float = Field(gt=0)


class Model(BaseModel):
    model: str
    compute_flops: float = Field(gt=0)


class GroupLaw(BaseModel):
    """Median and ends of the 95 % interval at every compute of the grid."""

    point: list[float]
    low: list[float]
    high: list[float]


class Registered(BaseModel):
    name: str
    sha256: str
    created_utc: str


class Predicted(BaseModel):
    point: float
    intervals: dict[str, tuple[float, float]]


class Group(BaseModel):
    """Problems of one difficulty; all values are mean log pass rates (nats)."""

    name: str
    problems: list[str]
    law: GroupLaw
    models: list[float | None]
    registration: Registered
    forecast: Predicted
    observed: float | None

    @property
    def inside(self) -> bool | None:
        """Whether the outcome is in the registered 95 % interval; None: no outcome yet."""
        low, high = self.forecast.intervals["95"]
        return None if self.observed is None else low <= self.observed <= high


class CapabilityData(BaseModel):
    """`capability.json` (written by `forecast.capability_evidence`)."""

    metric: str
    samples: int
    verdict: str
    reasons: list[str]
    target: Target
    models: list[Model]
    grid_flops: list[float]
    groups: list[Group] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> CapabilityData:
        """Raises UserError naming the file and the field that is wrong."""
        return checked(path, cls)

    @property
    def buckets(self) -> list[Group]:
        """The difficulty buckets, easiest first; without any, whatever groups there are."""
        return [one for one in self.groups if one.name.startswith("bucket")] or self.groups


def figure_two(found: CapabilityData) -> Figure:
    """A panel per bucket, easiest first, all to one scale."""
    shown = found.buckets
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure, panels = new(0.6 + 2.3 * rows, rows=rows, columns=columns)
    for axes, group in zip(panels, shown, strict=False):
        _panel(axes, found, group)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    values = [v for group in shown for v in (*group.law.low, *group.law.high, *group.models,
                                             group.observed) if v is not None]  # fmt: skip
    pad = 0.03 * (max(0.0, *values) - min(values))
    for at, axes in enumerate(panels[: len(shown)]):
        axes.set_ylim(min(values) - pad, max(0.0, *values) + pad)
        label(
            axes,
            "training FLOPs" if at >= len(shown) - columns else "",
            found.metric if at % columns == 0 else "",
            f"{shown[at].name}, {plural(len(shown[at].problems), 'problem')}",
        )
    # The law of the hardest bucket leaves the most room.
    legend(panels[len(shown) - 1], "upper left")
    return figure


def _panel(axes: Axes, found: CapabilityData, group: Group) -> None:
    axes.set_xscale("log")
    axes.fill_between(found.grid_flops, group.law.low, group.law.high, color=FIT, alpha=0.13,
                      linewidth=0, label="95 % interval")  # fmt: skip
    axes.plot(found.grid_flops, group.law.point, ":", color=FIT, linewidth=1.6,
              label="law of the small models")  # fmt: skip
    seen = [(model.compute_flops, value)
            for model, value in zip(found.models, group.models, strict=True)
            if value is not None]  # fmt: skip
    axes.plot([x for x, _ in seen], [y for _, y in seen], "o", color=INK, markersize=4,
              alpha=0.75, label="small models")  # fmt: skip
    x, y = found.target.compute_flops, group.forecast.point
    low, high = group.forecast.intervals["95"]
    axes.errorbar([x], [y], yerr=[[max(y - low, 0)], [max(high - y, 0)]], fmt="_", color=FIT,
                  markersize=10, capsize=3, label="registered, 95 %")  # fmt: skip
    if group.observed is not None:
        axes.plot([x], [group.observed], "*", color=SEEN, markersize=10, zorder=5,
                  label="observed")  # fmt: skip
    flop_ticks(axes)


def capability_section(found: CapabilityData, suite: str) -> tuple[Section, Figure]:
    """The chapter with Figure 2 of a suite and its numbers, and the drawing itself."""
    figure, title, anchor = figure_two(found), f"{TITLE}: {suite}", f"figure-2-{suite}"
    known = [one for one in found.buckets if one.inside is not None]
    outcome = (
        f"{sum(bool(one.inside) for one in known)} of {plural(len(known), 'bucket')} came out "
        f"inside the registered 95 % interval"
        if known
        else "the target has not been evaluated yet"
    )
    caption = (
        f"{found.metric.capitalize()} (nats) of {found.samples} samples per problem against "
        f"compute, a panel per difficulty bucket. Laws and bands are computed from "
        f"{plural(len(found.models), 'small model')} alone; bars are the forecasts registered for "
        f"{found.target.run} ({power(found.target.compute_flops)} FLOPs): {outcome}."
    )
    drawing = Drawing(inline(figure, anchor, title, caption), caption)
    note = Note(
        "The estimate of a problem's log pass rate is its posterior mean under Jeffreys' prior, "
        "so that a problem never solved counts, and by the same rule in forecast and outcome. No "
        "dot can lie lower than what no pass in its samples gives; small models have fewer.",
        "small",
    )
    blocks: list[Block] = [Picture(drawing), registered_table(found), note]
    if found.reasons:
        why = "; ".join(found.reasons)
        blocks.insert(1, Note(f"The forecast was registered as {found.verdict}: {why}.", "open"))
    return Section(anchor, title, blocks), figure


def registered_table(found: CapabilityData) -> Table:
    """Forecast and outcome of every group."""
    columns = ["group", "problems", found.metric, "95 %", "observed", "inside", "registration"]
    rows = [
        [one.name, str(len(one.problems)), number(one.forecast.point),
         interval(one.forecast.intervals["95"]), shown(one.observed),
         {None: NONE, True: "yes", False: "no"}[one.inside], short(one.registration.sha256)]
        for one in found.groups
    ]  # fmt: skip
    return Table("Registered forecasts of the target", columns, rows)
