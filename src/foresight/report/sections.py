"""The chapters of the page, from the evidence: sentences made from numbers, tables, figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from foresight.errors import UserError
from foresight.forecast import Code, Forecast
from foresight.forecast.curve import GRID, smooth
from foresight.forecast.rungs import rung_means
from foresight.report import figures
from foresight.report.blocks import Block, Fold, Note, Picture, Section, Table
from foresight.report.canvas import Drawing, inline
from foresight.report.evidence import Claim, Evidence, PictureAnswers, RunFacts
from foresight.report.figures import Dot
from foresight.report.tables import backtest_table
from foresight.report.words import (
    NONE,
    describe,
    flops,
    number,
    percent,
    plural,
    power,
    ratio,
    signed,
    unit,
)

_PARAMETRISATIONS = {
    "complete": "Ours (complete parametrisation)",
    "standard": "Standard parametrisation",
}
_HALF_OCTAVE = 0.5
RECORDS = "records.html"
"""Beside the page: every answer of the evaluations."""


def _picture(figure: Figure, name: str, title: str, caption: str) -> Picture:
    return Picture(Drawing(inline(figure, name, title, caption), caption))


def figure_one(evidence: Evidence) -> tuple[Section, Figure | None]:
    """Figure 1 and the drawing itself, which is also written to files."""
    title = "Figure 1: the forecast and what came"
    dots = [
        Dot(row.compute_flops, row.loss, row.eligible)
        for row in (evidence.fitted.table.rows if evidence.fitted else ())
        if math.isfinite(row.compute_flops) and math.isfinite(row.loss)
    ]
    if not dots:
        note = Note("No run of the ladder is finished: there is nothing to draw yet.", "open")
        return Section("figure-1", title, [note]), None
    stars = _stars(evidence)
    law = _law(evidence)
    found = sum(star.observed is not None for star in stars)
    one = "largest trained target" if found else "largest registered target"
    figure = figures.figure_one(
        dots,
        law,
        stars,
        unit_flops=evidence.unit_flops,
        scale=f"compute / compute of the {one if found or evidence.claims else 'largest rung'}",
        metric=describe(evidence.metric),
    )
    fitted = sum(dot.eligible for dot in dots)
    caption = (
        f"{describe(evidence.metric).capitalize()} against compute, normalised so that "
        f"{flops(evidence.unit_flops)} is 1. {plural(fitted, 'small run')} carried the fit"
        + (f", {len(dots) - fitted} did not (hollow)" if fitted < len(dots) else "")
        + ". The dotted line and the bands are computed from those runs alone; dashes with bars "
        f"are the registered forecasts, stars the {plural(found, 'observed target')}."
    )
    blocks: list[Block] = [_picture(figure, "figure1", title, caption)]
    if not law:
        blocks.append(Note("Too few eligible rungs to draw a law through them.", "open"))
    return Section("figure-1", title, blocks), figure


def _stars(evidence: Evidence) -> list[figures.Star]:
    claims = {c.target.path: c for c in evidence.claims if c.metric == evidence.metric}
    stars = []
    for target in evidence.targets:
        claim = claims.get(target.path)
        stars.append(
            figures.Star(
                compute_flops=target.compute_flops,
                point=claim.point if claim else None,
                interval95=claim.intervals.get(95) if claim else None,
                observed=target.metric(evidence.metric),
            )
        )
    return stars


def _law(evidence: Evidence) -> list[Forecast]:
    """Forecasts from the smallest rung to beyond the targets, for these exactly."""
    fitted = evidence.fitted
    if fitted is None or fitted.rungs is None:
        return []
    exact = [target.compute_flops for target in evidence.targets]
    low, top = (math.exp(float(fitted.rungs.x[at])) for at in (0, -1))
    grid = sorted({*np.geomspace(low, 1.25 * max(top, *exact), 33).tolist(), *exact})
    try:
        return [fitted.predict(float(compute), force=True) for compute in grid]
    except UserError:
        return []


def backtest(evidence: Evidence) -> Section:
    """Hidden rungs forecast from those below."""
    title = "Back-test: rungs hidden from the fit"
    rows = evidence.fitted.backtest_rows() if evidence.fitted else []
    if not rows:
        note = Note("Too few rungs for a back-test: it hides the top rungs and needs three below.",
                    "open")  # fmt: skip
        return Section("back-test", title, [note])
    errors = [100 * (row["predicted"] / row["observed"] - 1) for row in rows]
    worst = max(zip(errors, rows, strict=True), key=lambda pair: abs(pair[0]))
    within = sum(abs(row["z"]) <= 1.96 for row in rows)
    text = (
        f"{plural(len(rows), 'forecast')} of hidden rungs, each from the rungs below it alone: "
        f"median |error| {number(float(np.median(np.abs(errors))), 2)} %, largest "
        f"{signed(worst[0])} % at {ratio(worst[1]['ratio'])} the compute; {within} of {len(rows)} "
        f"z-scores within ±1.96 (a calibrated forecaster expects {percent(0.95, 0)})."
    )
    picture = _picture(figures.backtest(rows), "backtest", title, text)
    return Section("back-test", title, [picture, Fold("The numbers", [backtest_table(rows)])])


def law_in_force(evidence: Evidence) -> Section:
    """Local slopes and the gain from context: does one law hold over the ladder?"""
    title = "Is the law in force?"
    slopes, onward = _slopes(evidence)
    gains = _gains(evidence.finished_rungs)
    target_gains = _gains(evidence.targets)
    if not slopes and not gains:
        note = Note("Needs at least two finished rungs to show a slope.", "open")
        return Section("law", title, [note])
    figure = figures.law_in_force(slopes, onward, gains, target_gains)
    caption = (
        "Above: how fast the metric falls with compute between neighbouring rungs; a power law "
        "with a floor can only flatten. Below: how much lower the loss is late in the context "
        "than early, which grows while attention learns to copy from context."
    )
    blocks: list[Block] = [Note(text) for text in _slope_words(evidence, slopes)]
    blocks += [Note(text) for text in _gain_words(gains, target_gains)]
    blocks.insert(0, _picture(figure, "law", title, caption))
    return Section("law", title, blocks)


Slope = tuple[float, float, float]


def _slopes(evidence: Evidence) -> tuple[list[Slope], list[Slope]]:
    """(compute at the middle, slope, sd from seed noise), of rungs, and on to trained targets."""
    rungs = evidence.fitted.rungs if evidence.fitted else None
    if rungs is None:
        return [], []
    points = list(zip(rungs.x.tolist(), rungs.y.tolist(), rungs.variance.tolist(), strict=True))
    within = [_slope(a, b) for a, b in pairwise(points)]
    chain = points[-1:]
    for target in evidence.targets:
        value = target.metric(evidence.metric)
        if value and value > 0 and math.log(target.compute_flops) > chain[-1][0]:
            x = math.log(target.compute_flops)
            chain.append((x, math.log(value), float(rungs.noise.variance(x))))
    return within, [_slope(a, b) for a, b in pairwise(chain)]


def _slope(a: Slope, b: Slope) -> Slope:
    span = b[0] - a[0]
    return math.exp((a[0] + b[0]) / 2), (a[1] - b[1]) / span, math.sqrt(a[2] + b[2]) / span


def _slope_words(evidence: Evidence, slopes: Sequence[Slope]) -> list[str]:
    if len(slopes) < 2 or evidence.fitted is None:
        return []
    (_, first, first_sd), (_, last, last_sd) = slopes[0], slopes[-1]
    # The bars of neighbouring slopes share a rung; those of the first and last do not.
    sd = math.hypot(first_sd, last_sd)
    text = (
        f"The local slope goes from {number(first, 3)} ± {number(1.96 * first_sd, 2)} to "
        f"{number(last, 3)} ± {number(1.96 * last_sd, 2)} over the ladder"
    )
    if Code.STEEPENING in evidence.fitted.reasons:
        text += (
            ": it steepens over the whole ladder by more than noise and jitter explain, so a law "
            "with a floor is not yet in force and the small runs speak for the large one only "
            "with the widened interval shown."
        )
    elif last - first > 1.96 * sd:
        text += (
            ": more than seed noise between the two ends, but the fit's own test, which also "
            "allows for recipe jitter, does not find that the ladder steepens."
        )
    elif first - last > 1.96 * sd:
        text += ": it flattens, as a power law with a floor does."
    else:
        text += ": no change that seed noise does not explain."
    return [text, *_rise_words(evidence)]


def _rise_words(evidence: Evidence) -> list[str]:
    """Where the slope rises from one pair of rungs to the next by more than seed noise.

    Neighbouring slopes share a rung, whose noise enters both with opposite signs.
    """
    rungs = evidence.fitted.rungs if evidence.fitted else None
    if rungs is None:
        return []
    found = []
    for i in range(1, len(rungs) - 1):
        before, after = (float(rungs.x[j + 1] - rungs.x[j]) for j in (i - 1, i))
        first = float(rungs.y[i - 1] - rungs.y[i]) / before
        second = float(rungs.y[i] - rungs.y[i + 1]) / after
        v0, v1, v2 = (float(v) for v in rungs.variance[i - 1 : i + 2])
        sd = math.sqrt(v0 / before**2 + v1 * (1 / before + 1 / after) ** 2 + v2 / after**2)
        if second - first > 1.96 * sd:
            found.append(
                f"at {flops(math.exp(float(rungs.x[i])))} from {number(first, 3)} to "
                f"{number(second, 3)}"
            )
    if not found:
        return ["From one pair of rungs to the next it nowhere rises by more than seed noise."]
    return [
        f"On the way it rises by more than seed noise {'; '.join(found)}: there the loss falls "
        f"faster than a law with a floor allows, or a rung is off by its recipe (width, rounding)."
    ]


def _gains(runs: Sequence[RunFacts]) -> list[Dot]:
    pairs = [(run, run.metric("diagnostics/copy_gain")) for run in runs]
    return [Dot(run.compute_flops, gain) for run, gain in pairs if gain is not None]


def _gain_words(gains: Sequence[Dot], targets: Sequence[Dot]) -> list[str]:
    if not gains:
        return ["The gain from context is not recorded for these runs."]
    means = rung_means((dot.compute_flops, dot.value) for dot in gains)
    (low, first), (high, last) = means[0], means[-1]
    text = f"Context lowers the held-out loss of code by {number(first, 3)} nats at {flops(low)}"
    if len(means) > 1:
        step = last - means[-2][1]
        text += (
            f" and by {number(last, 3)} nats at {flops(high)}; between the two largest rungs the "
            f"gain changes by {signed(step, 3)} nats"
        )
    if targets:
        far = max(targets, key=lambda dot: dot.compute_flops)
        text += f", and the target at {flops(far.compute_flops)} reaches {number(far.value, 3)}"
        if far.value > 0:
            share = last / far.value
            text += (
                f": the largest rung has {percent(share, 0)} of that, "
                + ("so most of the target's gain was learned within the ladder"
                   if share >= 0.8 else
                   "so the transition in which attention learns to copy goes on beyond the ladder")
            )  # fmt: skip
    return [text + "."]


def curves(evidence: Evidence) -> Section:
    """Registered and actual training curves."""
    title = "Training curves, registered and actual"
    trained = [claim for claim in evidence.claims if claim.target.result]
    items, sentences = [], []
    for claim in trained:
        item = _curve(claim)
        if item is None:
            sentences.append(f"{claim.target.name}: its metrics hold no training loss.")
            continue
        items.append(item)
        low, high = (np.interp(GRID, item.fractions, band) for band in (item.low, item.high))
        inside = int(((item.smoothed >= low) & (item.smoothed <= high)).sum())
        expected = np.interp(GRID, item.fractions, item.loss)
        error = float(np.median(np.abs(expected / item.smoothed - 1)))
        sentences.append(
            f"{claim.target.name}: {inside} of {len(GRID)} points of the smoothed curve are inside "
            f"the registered 95 % band, median |error| {percent(error, 2)}."
        )
    if not items:
        sentences.insert(0, "No registered target has been trained: there is no curve to compare.")
        return Section("curves", title, [Note(text, "open") for text in sentences])
    picture = _picture(figures.curves(items), "curves", title, " ".join(sentences))
    return Section("curves", title, [picture])


def _curve(claim: Claim) -> figures.Curve | None:
    try:
        rows = [row for row in claim.target.run.metrics() if "loss" in row and "step" in row]
        steps = np.array([float(row["step"]) for row in rows])
        losses = np.array([float(row["loss"]) for row in rows])
    except (UserError, TypeError, ValueError):
        return None
    if not len(steps) or not np.isfinite(losses).all() or steps.max() <= 0:
        return None
    if len({len(one) for one in claim.curve.values()}) != 1:
        return None
    fractions = steps / steps.max()
    # At most about 400 points drawn: more are not seen, and the page carries them all.
    every = max(1, len(steps) // 400)
    return figures.Curve(
        name=claim.target.name,
        **claim.curve,
        logged=(fractions[::every], losses[::every]),
        smoothed=smooth(fractions, losses),
    )


def sources(evidence: Evidence) -> Section:
    """Loss of every source, of rung means and targets."""
    title = "Loss per source"
    groups = _rung_groups(evidence)
    groups += [(f"target\u00a0{t.name}", [t]) for t in evidence.targets if t.result]
    if not groups:
        return Section("sources", title, [Note("No run is finished.", "open")])
    results = [run.result or {} for _, runs in groups for run in runs]
    columns = [
        (section, name)
        for section in ("losses", "bits_per_byte")
        for name in sorted({str(n) for result in results for n in _names(result, section)})
    ]
    rows = []
    for label, runs in groups:
        values = [_mean([run.metric(f"{s}/{n}") for run in runs]) for s, n in columns]
        cells = [NONE if value is None else f"{value:.4f}" for value in values]
        rows.append([label, power(runs[0].compute_flops), str(len(runs)), *cells])
    heads = [f"{n}, {'nats/token' if s == 'losses' else 'bits/byte'}" for s, n in columns]
    table = Table("Held-out loss per source, mean over seeds", ["run", "FLOPs", "seeds", *heads],
                  rows)  # fmt: skip
    series = {name: _series(groups, f"bits_per_byte/{name}") for s, name in columns
              if s == "bits_per_byte"}  # fmt: skip
    series = {name: dots for name, dots in series.items() if dots}
    blocks: list[Block] = [table]
    if series:
        caption = "Held-out bits per byte of each source against compute, mean over seeds."
        picture = _picture(figures.sources(series, "bits per byte"), "sources", title, caption)
        blocks.insert(0, picture)
    return Section("sources", title, blocks)


def _names(result: dict[str, Any], section: str) -> list[str]:
    value = result.get(section)
    return list(value) if isinstance(value, dict) else []


def _rung_groups(evidence: Evidence) -> list[tuple[str, list[RunFacts]]]:
    groups: dict[float, list[RunFacts]] = {}
    for run in evidence.finished_rungs:
        groups.setdefault(run.planned_flops, []).append(run)
    ordered = (runs for _, runs in sorted(groups.items()))
    return [(f"rung\u00a0{runs[0].name.partition('-s')[0]}", runs) for runs in ordered]


def _series(groups: Sequence[tuple[str, Sequence[RunFacts]]], metric: str) -> list[Dot]:
    dots = []
    for label, runs in groups:
        value = _mean([run.metric(metric) for run in runs])
        if value is not None:
            dots.append(Dot(runs[0].compute_flops, value, not label.startswith("target")))
    return sorted(dots, key=lambda dot: dot.compute_flops)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def transfer(evidence: Evidence) -> Section:
    """Does the optimal learning rate stay put when the width grows?"""
    title = "Learning-rate transfer"
    found = evidence.transfer
    if found is None or not any(any(w.values()) for w in found.sweeps.values()):
        note = Note("No learning-rate sweep was run (transfer.json is absent or empty).", "open")
        return Section("transfer", title, [note])
    rows, sentences = [], []
    for kind, widths in found.optimum_octave.items():
        name = _PARAMETRISATIONS.get(kind, kind)
        ordered = sorted(widths.items(), key=figures.by_width)
        edges = [w for w, best in ordered if _at_edge(found.sweeps.get(kind, {}).get(w, []), best)]
        for width, best in ordered:
            where = "at the edge of the sweep: there or beyond" if width in edges else ""
            rows.append([name, width, signed(best), where])
        if len(ordered) > 1:
            (narrow, first), (wide, last) = ordered[0], ordered[-1]
            within = abs(last - first) <= _HALF_OCTAVE
            sentences.append(
                f"{name}: from width {narrow} to {wide} the optimum moves by "
                f"{signed(last - first)} octaves, {'within' if within else 'beyond'} half an octave"
                + (" (at least: an optimum lies at the edge of its sweep)." if edges else ".")
            )
    table = Table("Optimum", ["parametrisation", "width", "optimum, octaves", "remark"], rows)
    caption = (
        f"All learning rates multiplied by powers of two, {plural(found.steps, 'step')} of "
        f"{found.batch_tokens:,} tokens ({unit(found.metric)}); dotted: optimum of each width."
    )
    picture = _picture(figures.transfer(found, _PARAMETRISATIONS), "transfer", title, caption)
    return Section("transfer", title, [*(Note(text) for text in sentences), picture, table])


def _at_edge(points: Sequence[tuple[float, float | None]], best: float) -> bool:
    octaves = [octave for octave, _ in points]
    return bool(octaves) and (best <= min(octaves) or best >= max(octaves))


def pictures(evidence: Evidence) -> Section:
    """Held-out picture questions with the image shown and removed."""
    title = "Picture questions"
    found = evidence.pictures
    if found is None:
        note = Note("No picture questions were asked (pictures.json is absent).", "open")
        return Section("pictures", title, [note])
    first = found.seen[0]
    blind = next((one for one in found.removed if one.family == first.family), None)
    text = (
        f"{found.run} answers {percent(first.accuracy)} of {first.n:,} questions "
        f"({first.family}) with the image"
    )
    if blind:
        apart = "the intervals do not overlap" if first.low > blind.high else (
            "the intervals overlap: no clear use of the image")  # fmt: skip
        text += f" and {percent(blind.accuracy)} with it removed: {apart}"
    text += f". Chance is {percent(first.chance)}."
    picture = _picture(figures.pictures(found.seen, found.removed), "pictures", title, text)
    blocks: list[Block] = [picture, pictures_table(found)]
    if any(evidence.evals.glob("pictures*/records.jsonl")):
        blocks.append(Note("Every answer, with its pictures:", file=RECORDS))
    return Section("pictures", title, blocks)


def pictures_table(found: PictureAnswers) -> Table:
    """Accuracies with the image shown and removed, by family of questions."""
    removed = {one.family: one for one in found.removed}
    rows = []
    for one in found.seen:
        cells = [f"{percent(x.accuracy)} [{percent(x.low)}, {percent(x.high)}]" if x else NONE
                 for x in (one, removed.get(one.family))]  # fmt: skip
        rows.append([one.family, f"{one.n:,}", *cells, percent(one.chance)])
    columns = ["family", "n", "image shown (95 %)", "image removed (95 %)", "chance"]
    return Table("Held-out picture questions, 95 % Wilson intervals", columns, rows)
