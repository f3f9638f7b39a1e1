"""The independent rater: fractions, straight from the charges' JSON, written without a look at the other.

The rules it follows are those of docs/billing.md: a tier holds what lies above the tier before it up to and
including its own bound; a tier's flat amount is owed once anything lies in it; the whole period's units are
rated together; each line is rounded once, half to even.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_NO_MINOR_UNIT: Final = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"})
_THOUSANDTHS: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


class UnratableError(ValueError):
    """A charge or a number that this rater cannot read."""


@dataclass(frozen=True, slots=True)
class Rated:
    """What one charge comes to: units priced (1 for a flat charge), the exact amount, and minor units."""

    code: str
    quantity: Fraction
    exact: Fraction
    minor: int
    by_usage: bool


def minor_digits(currency: str) -> int:
    """Return the digits behind the point by ISO 4217: 0 for the yen, 3 for the Kuwaiti dinar, mostly 2."""
    if currency in _NO_MINOR_UNIT:
        return 0
    return 3 if currency in _THOUSANDTHS else 2


def rate(charges: Sequence[Mapping[str, Any]], units: int | Fraction, currency: str) -> list[Rated]:
    """Rate the units under each charge. Raises `UnratableError`."""
    return [_rate_one(charge, Fraction(units), currency) for charge in charges]


def number(value: Any) -> Fraction:
    """Read a decimal string exactly. Raises `UnratableError`."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise UnratableError(f"expected a decimal number as a string, got {value!r}")
    return Fraction(value)


def _rate_one(charge: Mapping[str, Any], units: Fraction, currency: str) -> Rated:
    model = charge.get("model")
    if model == "flat":
        quantity, exact = Fraction(1), number(charge.get("amount"))
    elif model == "per_unit":
        beyond = units - number(charge.get("included", "0"))
        quantity = beyond if beyond > 0 else Fraction(0)
        exact = quantity * number(charge.get("unit_price"))
    elif model == "graduated":
        quantity, exact = units, _graduated(charge.get("tiers"), units)
    else:
        raise UnratableError(f"unknown charge model {model!r}")
    # `round` of a fraction goes half to even.
    minor = round(exact * 10 ** minor_digits(currency))
    return Rated(str(charge.get("code")), quantity, exact, minor, by_usage=model != "flat")


def _graduated(tiers: Any, units: Fraction) -> Fraction:
    if not isinstance(tiers, list) or not tiers:
        raise UnratableError("a graduated charge needs tiers")
    owed, left, bottom = Fraction(0), units, Fraction(0)
    for tier in tiers:
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
