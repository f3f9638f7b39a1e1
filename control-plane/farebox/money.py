"""Money: whole minor units with a currency. Sums of unlike currencies cannot be written.

Unit prices are decimals, not money: they become money once, at the invoice line, half-even
(`from_decimal`), which is the rounding that IEEE 754 and most ledgers call banker's rounding.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Self

MINOR_DIGITS: Final = {
    "BHD": 3, "CLP": 0, "ISK": 0, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3, "OMR": 3, "PYG": 0, "TND": 3,
    "UGX": 0, "VND": 0, "XAF": 0, "XOF": 0, "XPF": 0, "AUD": 2, "BRL": 2, "CAD": 2, "CHF": 2, "CNY": 2,
    "CZK": 2, "DKK": 2, "EUR": 2, "GBP": 2, "GHS": 2, "HKD": 2, "INR": 2, "KES": 2, "MXN": 2, "NGN": 2,
    "NOK": 2, "NZD": 2, "PLN": 2, "SEK": 2, "SGD": 2, "USD": 2, "ZAR": 2,
}  # fmt: skip
"""Digits behind the point of each currency that can be charged (ISO 4217)."""


class CurrencyError(ValueError):
    """An unknown currency, or two different ones in one sum."""


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount: `minor` whole minor units (cents) of `currency` (ISO 4217, upper case)."""

    currency: str
    minor: int

    def __post_init__(self) -> None:
        """Refuse unknown currencies and anything that is not a whole number."""
        if self.currency not in MINOR_DIGITS:
            raise CurrencyError(f"unknown currency {self.currency!r}")
        if type(self.minor) is not int:
            raise TypeError("minor units are a whole number")

    def __add__(self, other: Self) -> "Money":
        """Add an amount of the same currency."""
        if other.currency != self.currency:
            raise CurrencyError(f"cannot add {other.currency} to {self.currency}")
        return Money(self.currency, self.minor + other.minor)

    def __neg__(self) -> "Money":
        """Return the amount with the other sign."""
        return Money(self.currency, -self.minor)

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, exact."""
        return Decimal(self.minor).scaleb(-MINOR_DIGITS[self.currency])

    def __str__(self) -> str:
        """Show the amount with all its minor digits, such as `USD 60.00`."""
        return f"{self.currency} {self.decimal:.{MINOR_DIGITS[self.currency]}f}"


def from_decimal(currency: str, amount: Decimal) -> Money:
    """Round an exact amount in major units to money, half-even: the one rounding of an invoice line."""
    if currency not in MINOR_DIGITS:
        raise CurrencyError(f"unknown currency {currency!r}")
    minor = amount.scaleb(MINOR_DIGITS[currency]).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    return Money(currency, int(minor))
