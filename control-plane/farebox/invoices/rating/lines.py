"""A rated line, its working, and the arithmetic that may not round on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, localcontext
from fractions import Fraction
from typing import Any, Final

from farebox.invoices.charges import UNITS
from farebox.money import MINOR_DIGITS, CurrencyError, Money

ROUNDING: Final = "half_even_per_line"
"""The name under which an invoice declares the rounding used here."""

# 18+6 digits of units times 12+12 of price, summed over 100 tiers: 60 digits hold it. Inexact is a trap, so a
# result that would have been rounded on the way is an error and not a cent.
EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero])
_ROUNDS_ONCE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])
_MOST_UNITS: Final = Decimal(10) ** 18
_MOST_MINOR: Final = 2**63 - 1
ZERO: Final = Decimal(0)
WHOLE: Final = Fraction(1)


class RatingError(ValueError):
    """A quantity or an amount that no invoice can hold, or a charge without its quantity."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a meter came to in a period: `total`, of `events` requests; `amounts` of single events in their
    order where they are known.
    """

    total: Decimal
    events: int | None = None
    amounts: tuple[Decimal, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a line's working: `units` at `unit_price`, plus `flat_amount`, is `amount` (exact)."""

    units: Decimal
    unit_price: Decimal
    amount: Decimal
    above: Decimal = ZERO
    up_to: Decimal | None = None
    flat_amount: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One line of a period. `units` were metered, `quantity` of them are priced (1 for an amount); `exact` is
    the amount of a whole period before the rounding, `share` the part of it that is owed. `kind` is the
    line's on the invoice: `charge`, `minimum`, `maximum`, `discount`.
    """

    code: str
    model: str
    description: str
    units: Decimal
    quantity: Decimal
    exact: Decimal
    amount: Money
    steps: tuple[Step, ...] = ()
    kind: str = "charge"
    by_usage: bool = False
    share: Fraction = WHOLE

    def explain(self) -> dict[str, Any]:
        """Return the working as plain JSON: decimal strings in major units, in the order of the tiers."""
        working = {
            "model": self.model,
            "units": plain(self.units),
            "exact": plain(self.exact),
            "steps": [_explained(step) for step in self.steps],
        }
        return working if self.share == 1 else working | {"share": str(self.share)}


def usage_of(quantity: "Decimal | int | Mapping[str, Usage]") -> Mapping[str, Usage]:
    """Return the quantities by meter; a bare number is of billable units."""
    return quantity if isinstance(quantity, Mapping) else {UNITS: Usage(Decimal(quantity))}


def checked(quantity: Decimal) -> Decimal:
    """Return the quantity. Raises `RatingError` unless an invoice can hold it."""
    if not quantity.is_finite() or not 0 <= quantity < _MOST_UNITS:
        raise RatingError(f"cannot rate {quantity} units: expected 0 or more, below 10^18")
    if quantity != quantity.quantize(Decimal("0.000001"), context=_ROUNDS_ONCE):
        raise RatingError(f"cannot rate {quantity} units: at most 6 digits behind the point")
    return quantity


def rounded(currency: str, exact: Decimal, share: Fraction = WHOLE, *, code: str = "") -> Money:
    """Round an exact amount in major units, or a share of it, to money: the one rounding of a line."""
    if currency not in MINOR_DIGITS:
        raise CurrencyError(f"unknown currency {currency!r}")
    if share == WHOLE:
        with localcontext(_ROUNDS_ONCE):
            minor = int(exact.scaleb(MINOR_DIGITS[currency]).quantize(Decimal(1)))
    else:
        # `round` of a fraction goes half to even.
        minor = round(Fraction(exact) * share * 10 ** MINOR_DIGITS[currency])
    if abs(minor) > _MOST_MINOR:
        raise RatingError(f"charge {code!r} comes to {Money(currency, minor)}, more than an invoice can hold")
    return Money(currency, minor)


def plain(number: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros: `0.01`, `5000`."""
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _explained(step: Step) -> Mapping[str, Any]:
    return {
        "above": plain(step.above),
        "up_to": None if step.up_to is None else plain(step.up_to),
        "units": plain(step.units),
        "unit_price": plain(step.unit_price),
        "flat_amount": plain(step.flat_amount),
        "amount": plain(step.amount),
    }
