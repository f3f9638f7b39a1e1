"""How amounts and counts are shown."""

from typing import Annotated

from pydantic import Field

from farebox.fields import View
from farebox.money import MINOR_DIGITS, Money
from farebox.usage.quantities import Count


class MoneyView(View):
    """An amount."""

    currency: Annotated[str, Field(examples=["USD"])]
    minor: Annotated[int, Field(description="Whole minor units (cents).", examples=[6000])]
    decimal: Annotated[str, Field(description="The same in major units.", examples=["60.00"])]


class CountView(View):
    """Requests, and the units they carried."""

    requests: int
    units: int


class SplitView(View):
    """All usage of something, and its billable part."""

    total: CountView
    billable: CountView


def money(amount: Money) -> MoneyView:
    """Show an amount with all its minor digits."""
    text = f"{amount.decimal:.{MINOR_DIGITS[amount.currency]}f}"
    return MoneyView(currency=amount.currency, minor=amount.minor, decimal=text)


def count(value: Count) -> CountView:
    """Show a count."""
    return CountView.model_construct(requests=value.requests, units=value.units)
