"""What a whole period comes to, derived anew: bounds, shares of short periods, coupons, corrections,
taxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from farebox_cli.verify.rating import (
    BOUNDS,
    UNITS,
    Metered,
    Rated,
    UnratableError,
    minor_of,
    number,
    rate_one,
)

WHOLE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax that an invoice names. `rate` in per cent."""

    kind: str
    name: str
    rate: Fraction
    inclusive: bool


def price(
    charges: Sequence[Mapping[str, Any]],
    usage: Mapping[str, Metered],
    currency: str,
    *,
    time_share: Fraction = WHOLE,
    quota: int | None = None,
    coupons: Sequence[Mapping[str, Any]] = (),
) -> list[Rated]:
    """Return every line of a period before tax. Raises `UnratableError`."""
    share = WHOLE if time_share >= 1 else _owed(charges, usage, time_share, quota)
    lines: list[Rated] = []
    for charge in charges:
        if charge.get("model") in BOUNDS:
            continue
        rated = rate_one(charge, usage, currency, share)
        lines.append(rated)
        reached = rated.minor
        for bound in ("maximum", "minimum"):
            if bound in charge and charge.get("model") != "flat":
                lines += _bounded(bound, charge, number(charge[bound]), share, reached, currency)
                reached = sum(each.minor for each in lines if each.code == rated.code)
    for coupon in coupons:
        lines += _taken_off(coupon, sum(each.minor for each in lines))
    for bound in ("maximum", "minimum"):
        for charge in charges:
            if charge.get("model") == bound:
                reached = sum(each.minor for each in lines)
                lines += _bounded(bound, charge, number(charge.get("amount")), share, reached, currency)
    return lines


def _taken_off(coupon: Mapping[str, Any], left: int) -> list[Rated]:
    if coupon["percent"] is not None:
        off = round(left * number(coupon["percent"]) / 100)
    else:
        off = int(coupon["amount_minor"])
    off = min(off, left)
    if off <= 0:
        return []
    return [Rated(str(coupon["code"]), WHOLE, Fraction(off), -off, by_usage=False, kind="discount")]


def difference(before: Sequence[Rated], now: Sequence[Rated]) -> list[tuple[str, Fraction, int]]:
    """Return (code, quantity, minor) of each line by usage, and of each other that comes to something
    else.
    """
    places = list(dict.fromkeys([(each.kind, each.code) for each in (*now, *before)]))
    found = []
    for place in places:
        old = [each for each in before if (each.kind, each.code) == place]
        new = [each for each in now if (each.kind, each.code) == place]
        was, comes = sum(each.minor for each in old), sum(each.minor for each in new)
        if was != comes or any(each.by_usage for each in (*old, *new)):
            quantity = sum((each.quantity for each in new), Fraction(0)) - sum(
                (each.quantity for each in old), Fraction(0)
            )
            found.append((place[1], quantity, comes - was))
    return found


def levy(taxes: Sequence[Tax], gross: int) -> list[int]:
    """Return what each tax comes to of the sum of the lines, in minor units. Raises `UnratableError`."""
    levied = [tax for tax in taxes if tax.kind == "levied"]
    if len({tax.inclusive for tax in levied}) > 1:
        raise UnratableError("inclusive and exclusive taxes stand side by side")
    net = Fraction(gross)
    if levied and levied[0].inclusive:
        net = gross * Fraction(100) / (100 + sum(tax.rate for tax in levied))
    return [round(net * tax.rate / 100) if tax.kind == "levied" else 0 for tax in taxes]


def _owed(
    charges: Sequence[Mapping[str, Any]],
    usage: Mapping[str, Metered],
    time_share: Fraction,
    quota: int | None,
) -> Fraction:
    """Return the share of a prorated amount that is owed: by time or by use, whichever is greater."""
    owed = time_share
    for charge in charges:
        included = number(charge.get("included", "0"))
        meter = charge.get("meter", UNITS)
        if charge.get("model") in {"per_unit", "package"} and included and meter in usage:
            owed = max(owed, usage[meter].total / included)
    if quota and UNITS in usage:
        owed = max(owed, usage[UNITS].total / quota)
    return min(owed, WHOLE)


def _bounded(
    bound: str, charge: Mapping[str, Any], amount: Fraction, share: Fraction, reached: int, currency: str
) -> list[Rated]:
    limit = minor_of(amount * (share if charge.get("prorate") == "second" else 1), currency)
    exceeds = reached > limit if bound == "maximum" else reached < limit
    if not exceeds:
        return []
    return [Rated(str(charge.get("code")), WHOLE, amount, limit - reached, by_usage=False, kind=bound)]
