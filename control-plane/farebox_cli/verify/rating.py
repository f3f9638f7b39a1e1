"""The independent rater: fractions, straight from the charges' JSON, written without a look at the other.

The rules it follows are those of docs/charges.md: a tier holds what lies above the tier before it up to and
including its own bound; a tier's flat amount is owed once anything lies in it; by volume the whole quantity
has the price of the tier that its last part lies in; a started package is owed whole; the whole period's
usage is rated together; each line is rounded once, half to even.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_NO_MINOR_UNIT: Final = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"})
_THOUSANDTHS: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
UNITS: Final = "units"
BOUNDS: Final = frozenset({"minimum", "maximum"})


class UnratableError(ValueError):
    """A charge or a number that this rater cannot read."""


@dataclass(frozen=True, slots=True)
class Metered:
    """What a meter came to: its total, of how many events, and what each came to where that is known."""

    total: Fraction
    events: int | None = None
    amounts: Sequence[Fraction] | None = None


@dataclass(frozen=True, slots=True)
class Rated:
    """What one charge comes to: units priced (1 for a flat charge), the exact amount, and minor units."""

    code: str
    quantity: Fraction
    exact: Fraction
    minor: int
    by_usage: bool
    kind: str = "charge"


def minor_digits(currency: str) -> int:
    """Return the digits behind the point by ISO 4217: 0 for the yen, 3 for the Kuwaiti dinar, mostly 2."""
    if currency in _NO_MINOR_UNIT:
        return 0
    return 3 if currency in _THOUSANDTHS else 2


def rate(charges: Sequence[Mapping[str, Any]], units: int | Fraction, currency: str) -> list[Rated]:
    """Rate the units under each charge that has an amount of its own. Raises `UnratableError`."""
    usage = {UNITS: Metered(Fraction(units))}
    return [rate_one(each, usage, currency) for each in charges if each.get("model") not in BOUNDS]


def number(value: Any) -> Fraction:
    """Read a decimal string exactly. Raises `UnratableError`."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise UnratableError(f"expected a decimal number as a string, got {value!r}")
    return Fraction(value)


def minor_of(exact: Fraction, currency: str) -> int:
    """Round to minor units: `round` of a fraction goes half to even."""
    return round(exact * (1, 10, 100, 1000)[minor_digits(currency)])


def rate_one(
    charge: Mapping[str, Any],
    usage: Mapping[str, Metered],
    currency: str,
    share: Fraction = Fraction(1),
) -> Rated:
    """Rate one charge without its bounds; `share` of a prorated amount is owed. Raises `UnratableError`."""
    model = charge.get("model")
    if model == "flat":
        quantity, exact = Fraction(1), number(charge.get("amount"))
        owed = exact * share if charge.get("prorate") == "second" else exact
        if "share" in charge:
            owed = exact * Fraction(charge["share"])
        return Rated(str(charge.get("code")), quantity, exact, minor_of(owed, currency), by_usage=False)
    meter = charge.get("meter", UNITS)
    if meter not in usage:
        raise UnratableError(f"the quantity of the meter {meter!r} is not known")
    metered = usage[meter]
    units = metered.total
    if model == "per_unit":
        quantity = _beyond(units, number(charge.get("included", "0")))
        exact = quantity * number(charge.get("unit_price"))
    elif model == "graduated":
        quantity, exact = units, _graduated(charge.get("tiers"), units)
    elif model == "volume":
        quantity, exact = units, _volume(charge.get("tiers"), units)
    elif model == "package":
        left = _beyond(units, number(charge.get("included", "0")))
        quantity = Fraction(-(-left // number(charge.get("size"))))
        exact = quantity * number(charge.get("price"))
    elif model == "percentage":
        quantity, exact = _percentage(charge, metered)
    else:
        raise UnratableError(f"unknown charge model {model!r}")
    return Rated(str(charge.get("code")), quantity, exact, minor_of(exact, currency), by_usage=True)


def _beyond(units: Fraction, included: Fraction) -> Fraction:
    return units - included if units > included else Fraction(0)


def _tiers(tiers: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(tiers, list) or not tiers:
        raise UnratableError("a charge by tiers needs tiers")
    return tiers


def _graduated(tiers: Any, units: Fraction) -> Fraction:
    owed, left, bottom = Fraction(0), units, Fraction(0)
    for tier in _tiers(tiers):
        if left <= 0:
            break
        top = tier.get("up_to")
        room = left if top is None else number(top) - bottom
        taken = min(left, room)
        owed += number(tier.get("flat_amount", "0")) + taken * number(tier.get("unit_price"))
        left -= taken
        bottom += room
    if left > 0:
        raise UnratableError(f"{left} units lie beyond the last tier")
    return owed


def _volume(tiers: Any, units: Fraction) -> Fraction:
    if units <= 0:
        return Fraction(0)
    # From the last tier down: the lowest that still reaches up to the quantity.
    chosen = None
    for tier in reversed(_tiers(tiers)):
        if tier.get("up_to") is not None and number(tier["up_to"]) < units:
            break
        chosen = tier
    if chosen is None:
        raise UnratableError(f"{units} units lie beyond the last tier")
    return units * number(chosen.get("unit_price")) + number(chosen.get("flat_amount", "0"))


def _percentage(charge: Mapping[str, Any], metered: Metered) -> tuple[Fraction, Fraction]:
    percent, fee = number(charge.get("percent")) / 100, number(charge.get("fee", "0"))
    included, free = number(charge.get("included", "0")), int(charge.get("free_events", 0))
    low, high = charge.get("event_minimum"), charge.get("event_maximum")
    if not (free or low is not None or high is not None or (included and fee)):
        priced = _beyond(metered.total, included)
        if fee and metered.events is None:
            raise UnratableError("a fee needs the number of events")
        return priced, priced * percent + fee * (metered.events or 0)
    if metered.amounts is None:
        raise UnratableError("this percentage needs the amount of each event")
    priced, owed, seen = Fraction(0), Fraction(0), Fraction(0)
    for position, amount in enumerate(metered.amounts, start=1):
        # What of this event lies above the free amount, seen on the running total.
        rest = _beyond(seen + amount, included) - _beyond(seen, included)
        seen += amount
        if position <= free or (included and rest == 0):
            continue
        one = rest * percent + fee
        if low is not None:
            one = max(one, number(low))
        if high is not None:
            one = min(one, number(high))
        priced, owed = priced + rest, owed + one
    return priced, owed
