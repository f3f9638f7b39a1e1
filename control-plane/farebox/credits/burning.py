"""In which order credits burn, and how much of each. Pure.

Earliest expiry first, so that least is lost; of one expiry promotional before prepaid, because nobody paid
for it; a balance last, because it never expires and is the customer's own money. Then the older grant.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

Kind = Literal["prepaid", "promotional", "balance"]
_ORDER: Final = {"promotional": 0, "prepaid": 1, "balance": 2}


@dataclass(frozen=True, slots=True)
class Credit:
    """What is left of a grant, in minor units. `expires_at` None: never."""

    grant: UUID
    kind: str
    remaining_minor: int
    expires_at: datetime | None
    granted_at: datetime


def burn_order(credits_: Iterable[Credit]) -> list[Credit]:
    """Sort credits into the order in which they burn."""
    return sorted(
        credits_,
        key=lambda each: (
            each.kind == "balance",
            each.expires_at is None,
            each.expires_at or each.granted_at,
            _ORDER[each.kind],
            each.granted_at,
            each.grant,
        ),
    )


def burn(credits_: Iterable[Credit], owed_minor: int, *, period_end: datetime) -> list[tuple[UUID, int]]:
    """Return what each grant pays of an invoice, as (grant, minor units above zero), in burn order.

    A credit pays a period that ends by the credit's expiry. Nothing is paid beyond what is owed.
    """
    parts: list[tuple[UUID, int]] = []
    for credit in burn_order(credits_):
        if owed_minor <= 0:
            break
        if credit.expires_at is not None and credit.expires_at < period_end:
            continue
        part = min(owed_minor, credit.remaining_minor)
        if part > 0:
            parts.append((credit.grant, part))
            owed_minor -= part
    return parts
