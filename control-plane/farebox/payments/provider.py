"""What a payment provider can do for us, in values of our own. Knows no SDK, no HTTP and no tables.

Every order carries a key that comes from a committed row of ours, so that an order sent again is done once.
What the provider has now (`Seen…`) is read alike from an answer, a webhook's object and a line of a list.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from farebox.money import Money

State = Literal["processing", "requires_action", "succeeded", "failed", "canceled"]


class ProviderError(Exception):
    """The provider did not do it. `code` and `reason` are its own words; they hold no secret."""

    def __init__(self, code: str, reason: str) -> None:
        """Keep the provider's words."""
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class ProviderRefusedError(ProviderError):
    """It refused for good: nothing was done, and asking again changes nothing."""


class ProviderAwayError(ProviderError):
    """No answer that tells: it may have been done. Ask again, by the order's key or by its name."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the money did not come, in the provider's words."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Account:
    """An organization as it is made known: its public id, a name and an address for receipts."""

    organization: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Order:
    """An amount to get. `payment` is our public id (`pay_…`); `method` a saved card, None for a new one.

    `customer` is the provider's id of the organization; `return_url` is where a person comes back to.
    """

    payment: str
    organization: str
    invoice: str | None
    amount: Money
    key: str
    customer: str
    email: str
    description: str
    return_url: str
    placed_at: datetime
    method: str | None = None


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """An amount to give back of a payment, which the provider knows by `provider_id`."""

    refund: str
    payment: str
    provider_id: str
    amount: Money
    key: str


@dataclass(frozen=True, slots=True)
class Card:
    """A saved card, as far as it may be shown."""

    provider_id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    postal_check: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A payment as the provider has it. `payment` is our id, if it carries one.

    `amount` is what was asked, and once it succeeded what was received. `secret` lets a browser confirm it.
    """

    provider_id: str
    payment: str | None
    state: State
    amount: Money
    created_at: datetime
    failure: Failure | None = None
    action_url: str | None = None
    charge_id: str | None = None
    postal_check: str | None = None
    secret: str | None = None
    customer: str | None = None
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class SeenRefund:
    """A refund as the provider has it; `payment` is the provider's id of the payment."""

    provider_id: str
    refund: str | None
    payment: str
    amount: Money
    state: Literal["processing", "succeeded", "failed", "canceled"]
    created_at: datetime
    failure_reason: str | None = None


@dataclass(frozen=True, slots=True)
class SeenDispute:
    """A chargeback as the provider has it. `withdrawn` is what it has taken from us so far, net."""

    provider_id: str
    payment: str
    amount: Money
    withdrawn: Money
    state: Literal["open", "won", "lost"]
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the provider's where a person pays. `payment` is our id; `provider_id` once somebody paid."""

    page_id: str
    url: str | None
    state: Literal["open", "complete", "expired"]
    payment: str | None = None
    provider_id: str | None = None


class Provider(Protocol):
    """What both providers do. All methods raise `ProviderRefusedError` and `ProviderAwayError`."""

    @property
    def name(self) -> str:
        """`stripe` or `paystack`, as it stands in our rows."""
        ...

    @property
    def reads_disputes(self) -> bool:
        """Whether chargebacks are read; those of one that does not are handled in its dashboard."""
        ...

    async def customer(self, account: Account) -> str:
        """Make the organization known; returns the provider's id. The same account gets the same id."""
        ...

    async def charge(self, order: Order) -> Seen:
        """Charge a saved card while nobody is there. A declined card is an answer, no error."""
        ...

    async def page(self, order: Order) -> Page:
        """Open a page where a person pays the order."""
        ...

    async def observe(self, provider_id: str) -> Seen:
        """Return the payment as it is now."""
        ...

    async def observe_page(self, page_id: str) -> Page:
        """Return the page as it is now."""
        ...

    async def find(self, order: Order) -> Seen | None:
        """Return the payment that our order made, if it ever arrived."""
        ...

    async def cancel(self, provider_id: str) -> Seen:
        """Give a payment up that waits for somebody; returns what became of it."""
        ...

    async def close_page(self, page_id: str) -> Page:
        """Close a page, so that nobody can pay on it any more; returns what became of it."""
        ...

    async def refund(self, order: RefundOrder) -> SeenRefund:
        """Give money back."""
        ...

    async def refunds_of(self, provider_id: str) -> list[SeenRefund]:
        """Return every refund of a payment, ours and others'."""
        ...

    async def dispute(self, dispute_id: str) -> SeenDispute:
        """Return the dispute as it is now."""
        ...

    async def forget_card(self, provider_id: str) -> None:
        """Forget a saved card; one that is gone already is no error."""
        ...

    def payments(self, start: datetime, end: datetime) -> AsyncIterator[Seen]:
        """List the payments made in [start, end)."""
        ...

    def refunds(self, start: datetime, end: datetime) -> AsyncIterator[SeenRefund]:
        """List the refunds made in [start, end)."""
        ...

    def disputes(self, start: datetime, end: datetime) -> AsyncIterator[SeenDispute]:
        """List the disputes opened in [start, end)."""
        ...
