"""Rating: what a period's units come to. Pure and exact; one rounding, half-even, at the line.

Chosen where peers differ (docs/billing.md has the table):
- a tier's upper bound belongs to it, and the next begins right after: with `up_to` 100, of 100.5 units half
  a unit falls into the next tier;
- zero units reach no tier, so no tier's flat amount is owed; a `flat` charge is owed always;
- the last tier has no end, so no usage is free by falling off the table;
- units of a whole period are rated together, never per event.

Knows no plans, no periods and no tax.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, localcontext
from typing import Any, Final

from farebox.invoices.charges import Charge, Flat, Graduated, PerUnit
from farebox.money import Money, from_decimal

ROUNDING: Final = "half_even_per_line"
"""The name under which an invoice declares the rounding used here."""

# 18+6 digits of units times 12+12 of price, summed over 100 tiers: 60 digits hold it. Inexact is a trap, so a
# result that would have been rounded on the way is an error and not a cent.
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero])
_ROUNDS_ONCE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])
_MOST_UNITS: Final = Decimal(10) ** 18
_MOST_MINOR: Final = 2**63 - 1
_ZERO: Final = Decimal(0)


class RatingError(ValueError):
    """A quantity or an amount that no invoice can hold."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a line's working: `units` at `unit_price`, plus `flat_amount`, is `amount` (exact)."""

    units: Decimal
    unit_price: Decimal
    amount: Decimal
    above: Decimal = _ZERO
    up_to: Decimal | None = None
    flat_amount: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One charge, rated. `units` were metered, `quantity` of them are priced (1 for a flat charge);
    `exact` is the amount before the rounding that made `amount`.
    """

    code: str
    model: str
    description: str
    units: Decimal
    quantity: Decimal
    exact: Decimal
    amount: Money
    steps: tuple[Step, ...]

    def explain(self) -> dict[str, Any]:
        """Return the working as plain JSON: decimal strings in major units, in the order of the tiers."""
        return {
            "model": self.model,
            "units": plain(self.units),
            "exact": plain(self.exact),
            "steps": [_explained(step) for step in self.steps],
        }


def rate(charges: Iterable[Charge], units: Decimal | int, currency: str) -> tuple[RatedLine, ...]:
    """Rate a period's units under each charge, in order. Raises `RatingError`, `CurrencyError`."""
    return tuple(rate_one(charge, units, currency) for charge in charges)


def rate_one(charge: Charge, units: Decimal | int, currency: str) -> RatedLine:
    """Rate a period's units under one charge. Raises `RatingError`, `CurrencyError`."""
    quantity = Decimal(units)
    if not quantity.is_finite() or not 0 <= quantity < _MOST_UNITS:
        raise RatingError(f"cannot rate {units} units: expected 0 or more, below 10^18")
    if quantity != quantity.quantize(Decimal("0.000001"), context=_ROUNDS_ONCE):
        raise RatingError(f"cannot rate {units} units: at most 6 digits behind the point")
    with localcontext(_EXACT):
        model, priced, steps = _steps(charge, quantity)
        exact = sum((step.amount for step in steps), _ZERO)
    with localcontext(_ROUNDS_ONCE):
        amount = from_decimal(currency, exact)
    if amount.minor > _MOST_MINOR:
        raise RatingError(f"charge {charge.code!r} comes to {amount}, more than an invoice can hold")
    return RatedLine(charge.code, model, charge.description, quantity, priced, exact, amount, steps)


def counts_units(charge: Charge) -> bool:
    """Whether the charge depends on usage at all."""
    return not isinstance(charge, Flat)


def plain(number: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros: `0.01`, `5000`."""
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _steps(charge: Charge, units: Decimal) -> tuple[str, Decimal, tuple[Step, ...]]:
    match charge:
        case Flat():
            return "flat", Decimal(1), (Step(Decimal(1), charge.amount, charge.amount),)
        case PerUnit():
            priced = max(_ZERO, units - charge.included)
            step = Step(priced, charge.unit_price, priced * charge.unit_price, above=charge.included)
            return "per_unit", priced, (step,)
        case Graduated():
            return "graduated", units, tuple(_climb(charge, units))


def _climb(charge: Graduated, units: Decimal) -> Iterable[Step]:
    floor = _ZERO
    for tier in charge.tiers:
        if units <= floor:
            return
        inside = (units if tier.up_to is None else min(units, tier.up_to)) - floor
        amount = inside * tier.unit_price + tier.flat_amount
        yield Step(inside, tier.unit_price, amount, floor, tier.up_to, tier.flat_amount)
        floor += inside


def _explained(step: Step) -> Mapping[str, Any]:
    return {
        "above": plain(step.above),
        "up_to": None if step.up_to is None else plain(step.up_to),
        "units": plain(step.units),
        "unit_price": plain(step.unit_price),
        "flat_amount": plain(step.flat_amount),
        "amount": plain(step.amount),
    }
