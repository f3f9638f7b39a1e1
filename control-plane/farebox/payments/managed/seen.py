"""A managed subscription and its invoices as Stripe has them, in values of our own. Pure; knows no tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from farebox.money import Money

InvoiceState = Literal["draft", "open", "paid", "void", "uncollectible"]
RANK: Mapping[str, int] = {"draft": 0, "open": 1, "uncollectible": 2, "void": 3, "paid": 3}
"""An invoice only moves up: what is lower was seen earlier."""
OVER = frozenset({"canceled", "incomplete_expired"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscription to make: `named` is our row, `starts_at` when Stripe asks for the first time."""

    named: str
    organization: str
    customer: str
    price: str
    method: str
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class SeenSubscription:
    """`named` is our row's id that it carries; `ending`: ends with its period; `asked`: somebody asked for
    its end, rather than that its invoices went unpaid.
    """

    provider_id: str
    named: str | None
    status: str
    ending: bool
    asked: bool
    item: str
    price: str
    method: str | None


@dataclass(frozen=True, slots=True)
class SeenLine:
    """One line: for a price (`price`), or an item that may be ours (`item`, our row's id)."""

    amount: Money
    until: datetime
    price: str | None
    item: str | None
    item_id: str | None


@dataclass(frozen=True, slots=True)
class SeenInvoice:
    """An invoice of Stripe's. `intent` is the payment that it was, or is to be, paid by."""

    provider_id: str
    subscription: str | None
    state: InvoiceState
    due: Money
    paid: Money
    attempts: int
    intent: str | None
    url: str | None
    created_at: datetime
    lines: tuple[SeenLine, ...]
