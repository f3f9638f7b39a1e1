"""What taxes come to on an invoice. Pure and exact: each rate is rounded once, half to even.

Exclusive taxes come on top of the lines. Inclusive ones are taken out: the net amount is the gross divided
by one plus all rates, each tax is its rate of the exact net, and the net is what is left of the gross, so
that the customer pays to the cent what the price said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from farebox.money import Money

Kind = Literal["levied", "reverse_charge", "exempt"]


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax that an invoice names: `rate` per cent, 0 unless it is levied."""

    kind: Kind
    name: str
    country: str
    region: str = ""
    rate: Decimal = Decimal(0)
    inclusive: bool = False


@dataclass(frozen=True, slots=True)
class Levied:
    """A tax with the net amount that it is taken of and what it comes to."""

    tax: Tax
    base: Money
    amount: Money


class MixedTaxesError(ValueError):
    """Inclusive and exclusive taxes on one sale: nobody could say what the price means."""


def levy(taxes: Sequence[Tax], lines_total: Money) -> tuple[Levied, ...]:
    """Apply the taxes to the sum of an invoice's lines. A negative sum gives negative tax, to the same cent.

    Raises `MixedTaxesError`.
    """
    if len({tax.inclusive for tax in taxes if tax.kind == "levied"}) > 1:
        raise MixedTaxesError("inclusive and exclusive taxes cannot stand on one invoice")
    inclusive = any(tax.inclusive for tax in taxes)
    whole = sum((Fraction(tax.rate) for tax in taxes), Fraction(0)) / 100
    exact_base = Fraction(lines_total.minor) / (1 + whole) if inclusive else Fraction(lines_total.minor)
    amounts = [Money(lines_total.currency, round(exact_base * Fraction(tax.rate) / 100)) for tax in taxes]
    included = sum(each.minor for each in amounts) if inclusive else 0
    base = Money(lines_total.currency, lines_total.minor - included)
    return tuple(Levied(tax, base, amount) for tax, amount in zip(taxes, amounts, strict=True))


def included(levied: Sequence[Levied], currency: str) -> Money:
    """Return the part of the lines that is tax: the sum of the inclusive ones."""
    return sum((each.amount for each in levied if each.tax.inclusive), Money(currency, 0))
