"""What invoices would say that are not written: of the running period so far, and of a period as wished.

Both go through the drafting of real invoices (`sequence`, `drafting`) and the burning of credits, so there is
no second price. Works in a tenant's transaction, locks nothing, writes nothing, and states no completeness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.billing_details import service as billing_details
from farebox.credits import service as credits_
from farebox.credits.service import Owed
from farebox.invoices import reading
from farebox.invoices.drafting import Draft
from farebox.invoices.reading import Case
from farebox.invoices.sequence import Drafted, draft_in_turn
from farebox.invoices.terms import REGULAR, Metered
from farebox.money import Money
from farebox.subscriptions.periods import period_containing
from farebox.taxes import service as taxes
from farebox.usage.meters import REQUESTS, UNITS
from farebox.usage.quantities import Count, Quantities

_OPEN: Final = text(
    "SELECT id FROM billing_periods WHERE organization_id = :organization AND state = 'open' "
    "AND ends_at <= (SELECT ends_at FROM billing_periods WHERE id = :period) ORDER BY ends_at, starts_at, id"
)


@dataclass(frozen=True, slots=True)
class Preview:
    """An invoice that is not written, the quantities that it rests on, and what credits would pay of it."""

    draft: Draft
    metered: Metered
    credits: Money

    @property
    def due(self) -> Money:
        """What would be asked for; nothing where the total is below zero."""
        return Money(self.credits.currency, max(0, self.draft.total.minor - self.credits.minor))


@dataclass(frozen=True, slots=True)
class Wish:
    """A plan version that somebody might be on: `charges` with those of add-ons, `plan` its plan's code."""

    plan: str
    version: str
    currency: str
    charges: Sequence[Mapping[str, Any]]
    meters: Sequence[Mapping[str, Any]]


async def so_far(session: AsyncSession, organization_id: UUID, period_id: UUID, *, issuer: str) -> Preview:
    """Return the invoice of an open period if nothing more is used in it.

    Periods before it that are not invoiced yet come first, as they will: with the corrections of earlier
    periods and with their coupons and credits.
    """
    values = {"organization": organization_id, "period": period_id}
    periods = list(await session.scalars(_OPEN, values))
    [case] = await reading.cases(session, [organization_id], periods)
    drafts = await _drafts(session, case, issuer=issuer)
    place = next(at for at, each in enumerate(drafts) if each.own.term.period_id == period_id)
    paid = await credits_.would_pay(session, [_owed(each.draft) for each in drafts[: place + 1]])
    return _preview(drafts[place], paid)


async def as_wished(
    session: AsyncSession,
    organization_id: UUID,
    period_id: UUID,
    wish: Wish,
    meters: Mapping[str, int],
    *,
    issuer: str,
    now: datetime,
) -> Preview:
    """Return the invoice of one full period with these quantities, with the organization's coupons, taxes and
    credits. `period_id` is its running period; `meters` has the units at least. Raises as `draft` does.
    """
    [case] = await reading.cases(session, [organization_id], [period_id])
    [present] = case.closing
    full = period_containing(now, time_zone=present.term.time_zone, anchor_day=present.term.anchor_day)
    term = replace(
        present.term,
        plan=wish.version,
        plan_code=wish.plan,
        currency=wish.currency,
        charges=list(wish.charges),
        meters=list(wish.meters),
        starts_at=full.start,
        ends_at=full.end,
        kind=REGULAR,
        quota_units=None,
    )
    quantities = Quantities(
        present.quantities.rule, Count(meters.get(REQUESTS, meters[UNITS]), meters[UNITS]), {}
    )
    wished = Metered(term, quantities, dict(meters))
    [made] = await _drafts(session, replace(case, closing=(wished,), earlier=()), issuer=issuer)
    return _preview(made, await credits_.would_pay(session, [_owed(made.draft)]))


async def _drafts(session: AsyncSession, case: Case, *, issuer: str) -> list[Drafted]:
    rates = await taxes.rates(session) if case.party.buyer is not None else []
    return draft_in_turn(
        case,
        seller=await billing_details.seller(session, issuer),
        rates=rates,
        retired=lambda _: (),
        statement_digest=b"",
    )


def _owed(draft: Draft) -> Owed:
    term = draft.term
    return Owed(term.period_id, draft.party.id, term.currency, draft.total.minor, term.ends_at)


def _preview(made: Drafted, paid: Mapping[UUID, int]) -> Preview:
    currency = made.draft.total.currency
    return Preview(made.draft, made.own, Money(currency, paid.get(made.own.term.period_id, 0)))
