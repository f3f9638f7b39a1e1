"""What a plan costs whatever is used: the measure by which one plan is cheaper than another. Pure.

Reads only the charges of model `flat`; what usage comes to is `farebox.invoices`.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any


def base_price(charges: Iterable[Mapping[str, Any]]) -> Decimal:
    """Return the sum of the flat charges of a whole period, in major units."""
    return sum((Decimal(each["amount"]) for each in charges if each["model"] == "flat"), Decimal(0))


def is_cheaper(charges: Iterable[Mapping[str, Any]], *, than: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether a plan with these charges has a lower base price than one with the others.

    Currencies are not compared: a plan in another currency is chosen now unless somebody says otherwise.
    """
    return base_price(charges) < base_price(than)
