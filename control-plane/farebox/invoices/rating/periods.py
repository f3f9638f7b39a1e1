"""What a whole period comes to: charges, their bounds, discounts, the plan's bounds, in this order.

1. each charge is rated and rounded; its own `maximum` takes off what lies above, its `minimum` adds what
   lacks;
2. each discount takes its part of what then is left, never more than all of it;
3. the plan's `maximum` caps what is left, the plan's `minimum` fills it up: a discount comes before the
   maximum, and does not lower what was committed.

In a period that is shorter than a full one, prorated amounts are owed by the share of its time, or by the
share of the included units (or of the quota) that were used, whichever is greater: whoever has used all
that a period includes owes the period, however soon he leaves. Included units and tiers stay whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from farebox.invoices.charges import UNITS, Charge, Maximum, Metered, Minimum, Package, PerUnit
from farebox.invoices.rating.lines import WHOLE, ZERO, RatedLine, RatingError, Usage, rounded, usage_of
from farebox.invoices.rating.models import rate_one
from farebox.money import Money


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a full period this one is: its seconds of a full one's, and the quota that it carries."""

    seconds: int
    full_seconds: int
    quota: Decimal | None = None

    @property
    def of_time(self) -> Fraction:
        """The share of time; 1 where the period is full."""
        return min(WHOLE, Fraction(max(0, self.seconds), self.full_seconds))


@dataclass(frozen=True, slots=True)
class Discount:
    """A coupon as it applies to one period: `percent`, or an `amount` in the invoice's currency."""

    code: str
    name: str
    percent: Decimal | None = None
    amount: Money | None = None


def rate(
    charges: Iterable[Charge], quantity: Decimal | int | Mapping[str, Usage], currency: str
) -> tuple[RatedLine, ...]:
    """Rate a full period's usage under each charge, with all bounds. Raises `RatingError`,
    `CurrencyError`.
    """
    return price(tuple(charges), quantity, currency)


def price(
    charges: Sequence[Charge],
    quantity: Decimal | int | Mapping[str, Usage],
    currency: str,
    *,
    share: Share | None = None,
    discounts: Sequence[Discount] = (),
) -> tuple[RatedLine, ...]:
    """Return every line of a period, before tax. Raises `RatingError`, `CurrencyError`."""
    usage = usage_of(quantity)
    owed = WHOLE if share is None else owed_share(charges, usage, share)
    lines: list[RatedLine] = []
    for charge in charges:
        if not isinstance(charge, Minimum | Maximum):
            lines += _bounded(charge, rate_one(charge, usage, currency, share=owed), owed)
    for discount in discounts:
        lines += _discounted(discount, _sum(lines, currency))
    for kind in (Maximum, Minimum):
        for charge in charges:
            if isinstance(charge, kind):
                part = owed if charge.prorated else WHOLE
                so_far = _sum(lines, currency)
                lines += _bound(charge, charge.amount, part, so_far, is_maximum=kind is Maximum)
    if abs(_sum(lines, currency).minor) >= 2**63:
        raise RatingError("the period comes to more than an invoice can hold")
    return tuple(lines)


def owed_share(charges: Sequence[Charge], usage: Mapping[str, Usage], share: Share) -> Fraction:
    """Return which share of a prorated amount is owed: by time or by use, the greater."""
    used = [
        Fraction(usage[charge.meter].total) / Fraction(charge.included)
        for charge in charges
        if isinstance(charge, PerUnit | Package) and charge.included > 0 and charge.meter in usage
    ]
    if share.quota and UNITS in usage:
        used.append(Fraction(usage[UNITS].total) / Fraction(share.quota))
    return min(WHOLE, max([share.of_time, *used]))


def _bounded(charge: Charge, line: RatedLine, owed: Fraction) -> Iterator[RatedLine]:
    yield line
    if not isinstance(charge, Metered):
        return
    part = owed if charge.prorated else WHOLE
    so_far = line.amount
    if charge.maximum is not None:
        for cut in _bound(charge, charge.maximum, part, so_far, is_maximum=True):
            so_far += cut.amount
            yield cut
    if charge.minimum is not None:
        yield from _bound(charge, charge.minimum, part, so_far, is_maximum=False)


def _bound(
    charge: Charge, bound: Decimal, part: Fraction, so_far: Money, *, is_maximum: bool
) -> Iterator[RatedLine]:
    limit = rounded(so_far.currency, bound, part, code=charge.code)
    if (so_far.minor > limit.minor) if is_maximum else (so_far.minor < limit.minor):
        name = "maximum" if is_maximum else "minimum"
        is_plan = isinstance(charge, Minimum | Maximum)
        yield RatedLine(
            charge.code,
            name,
            charge.description if is_plan else f"{charge.description}: {name}",
            ZERO,
            Decimal(1),
            bound,
            limit + -so_far,
            kind=name,
            share=part,
        )


def _discounted(discount: Discount, so_far: Money) -> Iterator[RatedLine]:
    if discount.percent is not None:
        exact = so_far.decimal * discount.percent.scaleb(-2)
        taken = rounded(so_far.currency, exact, code=discount.code)
    elif discount.amount is not None and discount.amount.currency == so_far.currency:
        exact, taken = discount.amount.decimal, discount.amount
    else:
        raise RatingError(f"coupon {discount.code!r} takes off nothing in {so_far.currency}")
    taken = Money(so_far.currency, min(taken.minor, so_far.minor))
    if taken.minor > 0:
        yield RatedLine(
            discount.code, "coupon", discount.name, ZERO, Decimal(1), exact, -taken, kind="discount"
        )


def _sum(lines: Iterable[RatedLine], currency: str) -> Money:
    return sum((line.amount for line in lines), Money(currency, 0))
