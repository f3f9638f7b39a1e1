"""The charges of a plan version as values: what can be charged, and with which numbers.

Amounts and prices are decimals in major units, quantities decimals. `meter` names the quantity a charge
prices. Knows the form of charges, not what they come to: that is `farebox.invoices.rating`.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

UNITS: Final = "units"
"""The meter of a charge that names none: the billable units of the period."""
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What every charge has. `prorated`: amounts are owed by the second where the period is short."""

    code: str
    description: str
    prorated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat(Named):
    """An amount owed once per period; `share` is owed of it instead, where given (pieces of an add-on)."""

    amount: Decimal
    share: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered(Named):
    """A charge by quantity. Its period comes to `minimum` at least and `maximum` at most, where given."""

    meter: str = UNITS
    minimum: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerUnit(Metered):
    """A price for each unit beyond those included."""

    unit_price: Decimal
    included: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Tier:
    """A stretch of units, from the end of the tier before (excluded) to `up_to` (included, None: no end)."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_amount: Decimal = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Graduated(Metered):
    """Each unit at the price of the tier it falls into."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Metered):
    """All units at the price of the one tier that the period's total falls into."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package(Metered):
    """`price` for each package of `size` units beyond those included; a started package is owed whole."""

    size: Decimal
    price: Decimal
    included: Decimal = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentage(Metered):
    """`percent` of a metered amount of money, and `fee` for each event; the first `free_events` events and
    the
    first `included` of the amount are free. An event that is not free comes to `event_minimum` at least and
    `event_maximum` at most.
    """

    percent: Decimal
    fee: Decimal = _ZERO
    included: Decimal = _ZERO
    free_events: int = 0
    event_minimum: Decimal | None = None
    event_maximum: Decimal | None = None

    @property
    def needs_each_event(self) -> bool:
        """Whether sums are not enough: the charge depends on what single events came to."""
        return (
            self.free_events > 0
            or self.event_minimum is not None
            or self.event_maximum is not None
            or (self.included > 0 and self.fee > 0)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum(Named):
    """All charges of the period together come to `amount` at least."""

    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Maximum(Named):
    """All charges of the period together come to `amount` at most."""

    amount: Decimal


Charge = Flat | PerUnit | Graduated | Volume | Package | Percentage | Minimum | Maximum
