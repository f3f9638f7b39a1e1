"""A billing period with everything that its price follows from, and what its usage comes to. Pure.

Whoever drafts an invoice, and whoever corrects one later, prices a period here: the same terms and quantities
give the same lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from farebox.billing_details.parties import Buyer
from farebox.clock import OrganizationTime
from farebox.coupons.service import Redemption
from farebox.invoices import charges as language
from farebox.invoices.rating import Discount, RatedLine, Share, Usage, price
from farebox.subscriptions.periods import period_containing
from farebox.usage.quantities import Quantities

REGULAR: Final = "regular"


@dataclass(frozen=True, slots=True)
class Party:
    """The organization that is billed."""

    id: UUID
    public_id: str
    name: str
    time: OrganizationTime
    buyer: Buyer | None = None
    redemptions: tuple[Redemption, ...] = ()


@dataclass(frozen=True)
class Term:
    """One billing period with the price that holds in it. `billed` is what invoices billed of it, by meter;
    `kind` `trial` and `paused` owe nothing. `meters` are definitions as the plan version has them;
    `discounts` those of the invoice that it was billed on. `touches` and `corrections` say which changes
    were counted.
    """

    period_id: UUID
    subscription_id: UUID
    subscription: str
    plan: str
    currency: str
    charges: Sequence[Any]
    time_zone: str
    anchor_day: int
    starts_at: datetime
    ends_at: datetime
    is_first: bool
    is_last: bool
    billed_units: int
    invoiced: bool
    plan_code: str = ""
    kind: str = REGULAR
    quota_units: int | None = None
    meters: Sequence[Any] = ()
    billed: Mapping[str, int] = field(default_factory=dict)
    discounts: tuple[Discount, ...] = ()
    touches: int = 0
    corrections: int = 0

    @cached_property
    def parsed(self) -> tuple[language.Charge, ...]:
        """The charges as values, those of add-ons beside the plan's. Raises `ChargeError`."""
        return language.parse(list(self.charges), most=len(self.charges))

    @cached_property
    def share(self) -> Share:
        """How much of a full period this is, by whole seconds."""
        full = period_containing(self.starts_at, time_zone=self.time_zone, anchor_day=self.anchor_day)
        return Share(
            _seconds(self.ends_at) - _seconds(self.starts_at),
            _seconds(full.end) - _seconds(full.start),
            None if self.quota_units is None else Decimal(self.quota_units),
        )

    @property
    def billed_meters(self) -> Mapping[str, int]:
        """What invoices billed, by meter; units at least."""
        return {"requests": 0} | dict(self.billed) | {"units": self.billed_units}


@dataclass(frozen=True, slots=True)
class Metered:
    """A period with what was counted in it: requests and units by reason, each meter's quantity with an
    operator's corrections, and those corrections as plain JSON.
    """

    term: Term
    quantities: Quantities
    measured: Mapping[str, int] = field(default_factory=dict)
    corrections: Sequence[Mapping[str, Any]] = ()

    @property
    def meters(self) -> Mapping[str, int]:
        """Each meter's quantity, `units` and `requests` among them."""
        billable = self.quantities.billable
        return {"units": billable.units, "requests": billable.requests} | dict(self.measured)

    @property
    def changed(self) -> bool:
        """Whether a meter that is priced here, or the units, now has another quantity than was billed."""
        priced = {"units"} | {str(each.get("meter", "units")) for each in self.term.charges}
        now, billed = self.meters, self.term.billed_meters
        return any(now.get(meter) != billed.get(meter) for meter in priced)


def lines_of(term: Term, meters: Mapping[str, int], discounts: Sequence[Discount]) -> tuple[RatedLine, ...]:
    """Return every line of the period before tax; none where the period owes nothing.

    Raises `ChargeError`, `RatingError`, `CurrencyError`.
    """
    if term.kind != REGULAR:
        return ()
    requests = meters.get("requests")
    usage = {meter: Usage(Decimal(quantity), requests) for meter, quantity in meters.items()}
    return price(term.parsed, usage, term.currency, share=term.share, discounts=discounts)


def _seconds(moment: datetime) -> int:
    """Return the whole seconds since the epoch: parts of a second belong to the period before."""
    return int(moment.timestamp() // 1)
