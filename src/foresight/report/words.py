"""Numbers and names as the page spells them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

MISSING = "not recorded"
NONE = "\u2013"
TIMES = "\u00d7"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any, digits: int = 4) -> str:
    """A measured quantity to so many significant digits; whole numbers keep all of theirs."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return MISSING if value is None else str(value)
    if isinstance(value, int):
        return count(value)
    if not math.isfinite(value):
        return "not finite"
    if value and not 1e-4 <= abs(value) < 1e6:
        return power(value)
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return minus(f"{value:.{places}f}")


def setting(value: Any) -> str:
    """A value that was chosen, as short as it can be written to six digits."""
    if isinstance(value, float) and 1e-4 <= abs(value) < 1e6:
        return minus(f"{value:.6g}")
    return number(value)


def minus(text: str) -> str:
    """A typographic minus, which never breaks away from its digits."""
    return text.replace("-", "\u2212")


def signed(value: float, places: int = 2) -> str:
    text = f"{value:+.{places}f}"
    # A rounded nothing has no sign worth showing.
    return minus(text) if float(text) else f"{0:.{places}f}"


def count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else MISSING


def power(value: float, digits: int = 3) -> str:
    """4.6e12 as 4.60 times ten to the power of 12, in superscripts."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{minus(mantissa)}\u00a0{TIMES}\u00a010{superscript(int(exponent))}"


def superscript(exponent: int) -> str:
    return str(exponent).translate(_SUPERSCRIPTS)


def flops(value: Any) -> str:
    return f"{power(float(value))} FLOPs" if isinstance(value, (int, float)) else MISSING


def interval(pair: Sequence[float]) -> str:
    return f"[{number(float(pair[0]))}, {number(float(pair[1]))}]"


def percent(value: float, places: int = 1) -> str:
    return f"{100 * value:.{places}f} %"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def ratio(value: float) -> str:
    return (f"{value:.3g}" if value < 1000 else f"{value:,.0f}") + TIMES


def moment(text: Any) -> str:
    """An ISO 8601 time to the second, in UTC; anything else as it stands."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")


def short(sha256: Any) -> str:
    return str(sha256)[:12] if sha256 else MISSING


def unit(metric: str) -> str:
    """The unit of a metric path such as `bits_per_byte/code`."""
    section = metric.split("/", maxsplit=1)[0]
    return {"bits_per_byte": "bits per byte", "losses": "nats per token"}.get(section, metric)


def describe(metric: str) -> str:
    """A metric path in words."""
    section, _, source = metric.partition("/")
    if section not in ("bits_per_byte", "losses") or not source:
        return metric
    where = "the held-out mixture" if source == "mix" else f"held-out {source}"
    return f"{unit(metric)} on {where}"


def plural(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")
