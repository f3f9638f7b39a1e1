"""Subscriptions that Stripe manages, kept as ours are: made, repriced, ended; our invoices put on Stripe's.

Level-triggered: each pass compares what both sides have, so a lost webhook, a lost answer or a kill costs a
pass. A row is committed before Stripe is asked, and Stripe's object carries the row's id.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids
from farebox.invoices.model import Invoice
from farebox.money import Money, from_decimal
from farebox.organizations import test_clock
from farebox.payments import accounts, cards, placing
from farebox.payments.accounts import Till
from farebox.payments.ledger import LIVE, OWING
from farebox.payments.managed import choosing, recording
from farebox.payments.managed.model import StripeItem, StripePrice, StripeSubscription
from farebox.payments.managed.seen import SeenSubscription, Wanted
from farebox.payments.model import Payment
from farebox.payments.provider import ProviderError, ProviderRefusedError
from farebox.plans.model import Plan, PlanVersion
from farebox.plans.prices import base_price
from farebox.problems import Refusal
from farebox.subscriptions import service as subscriptions
from farebox_worker.payments import looking
from farebox_worker.supervision import describe

LOOK_AGAIN: Final = timedelta(hours=1)
"""How often a subscription is looked at although no webhook came."""
_SLACK: Final = timedelta(days=1)
"""How far Stripe's end of a period may lie from ours: it counts months in UTC."""
_NO_EDITS: Final = "invoice_not_editable"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ours:
    """The organization's own subscription, as far as Stripe must follow it."""

    state: str
    version: UUID
    name: str
    flat: Money
    period_end: datetime
    on_default_plan: bool
    has_test_clock: bool
    method: str | None


async def steer(till: Till) -> int:
    """Look at every managed subscription that is not over; returns how many failed."""
    if till.providers.stripe is None:
        return 0
    async with till.database.transaction() as session:
        found = list(await session.scalars(select(StripeSubscription.id).where(choosing.LIVE)))
    failed = 0
    for each in found:
        try:
            await _steer(till, each)
        except (ProviderError, Refusal) as error:
            failed += 1
            await _note(till, each, describe(error))
            log.warning("stripe_subscription_not_steered", subscription=str(each), error=describe(error))
    return failed


async def _steer(till: Till, row_id: UUID) -> None:
    row = await _fresh(till, row_id)
    if row.state == "leaving":
        await _leave(till, row)
        return
    ours = await _ours(till, row.organization_id)
    if row.state == "wanted":
        await _start(till, row, ours)
        return
    if row.provider_id is None:
        return
    if ours.on_default_plan or ours.state == "paused":
        async with till.database.transaction() as session:
            await choosing.leave(session, row.organization_id, now=till.now())
        await _leave(till, await _fresh(till, row_id))
        return
    if till.now() - row.updated_at >= LOOK_AGAIN:
        await looking.look_at_all_of(till, row.provider_id)
    await _follow(till, row_id, ours)
    for invoice_id in await _to_ask(till, row_id):
        await _place(till, row_id, invoice_id)
    for item in await _placed(till, row_id):
        await _put(till, row_id, item)


async def _start(till: Till, row: StripeSubscription, ours: Ours) -> None:
    problem = None
    if ours.has_test_clock:
        problem = "Stripe knows no test clock of ours."
    elif ours.state not in {"active", "past_due"} or ours.on_default_plan:
        problem = "It begins once a paid plan is active."
    elif ours.method is None:
        problem = "There is no saved card."
    if problem is not None or ours.method is None:
        await _note(till, row.id, problem or "")
        return
    customer = await accounts.make_known(till, till.providers.elements(), row.organization_id)
    async with till.database.transaction() as session:
        who = await accounts.payer(session, row.organization_id)
    wanted = Wanted(
        named=str(row.id),
        organization=f"org_{who.public_id}",
        customer=customer.provider_id,
        price=await _price(till, ours),
        method=ours.method,
        starts_at=ours.period_end,
    )
    seen = await looking.api(till).start(wanted)
    async with _locked(till, row.id) as (session, found):
        await recording.subscription(session, found, seen, now=till.now())
        found.plan_version_id, found.problem = ours.version, None


async def _leave(till: Till, row: StripeSubscription) -> None:
    provider_id = row.provider_id
    if provider_id is None:
        async with till.database.transaction() as session:
            customer = await accounts.known(session, row.organization_id, "stripe")
        found = (
            await looking.api(till).find(customer.provider_id, str(row.id)) if customer is not None else None
        )
        provider_id = found.provider_id if found is not None else None
    if provider_id is None:
        async with _locked(till, row.id) as (_, gone):
            gone.state, gone.ended_at, gone.updated_at = "ended", till.now(), till.now()
        return
    seen = await looking.api(till).cancel(provider_id)
    async with _locked(till, row.id) as (session, left):
        await recording.subscription(session, left, seen, now=till.now())


async def _follow(till: Till, row_id: UUID, ours: Ours) -> None:
    """Pass on what changed here since both sides agreed: the price, the end, the card."""
    row = await _fresh(till, row_id)
    if row.state != "running" or row.provider_id is None:
        return
    if row.plan_version_id != ours.version:
        now_there = await looking.api(till).observe(row.provider_id)
        seen = await looking.api(till).reprice(row.provider_id, now_there.item, await _price(till, ours))
        await _agreed(till, row_id, seen, plan_version_id=ours.version)
    ends = ours.state == "cancelled"
    if ends != row.ending:
        now_there = await looking.api(till).observe(row.provider_id)
        if now_there.ending == row.ending:
            seen = await looking.api(till).end_with_period(row.provider_id, ends=ends)
            await _agreed(till, row_id, seen, ending=seen.ending)
        elif now_there.ending == ends:
            await _agreed(till, row_id, now_there, ending=ends)
    if ours.method is not None and ours.method != row.method:
        seen = await looking.api(till).charge_with(row.provider_id, ours.method)
        async for unpaid in looking.api(till).invoices(row.provider_id, status="open"):
            await looking.api(till).try_again(unpaid.provider_id, ours.method)
            await looking.look_at_invoice(till, unpaid.provider_id)
        await _agreed(till, row_id, seen, method=ours.method)


async def _agreed(till: Till, row_id: UUID, seen: SeenSubscription, **fields: UUID | bool | str) -> None:
    async with till.database.transaction() as session:
        values = {**fields, "status": seen.status, "updated_at": till.now(), "problem": None}
        await session.execute(
            update(StripeSubscription).where(StripeSubscription.id == row_id).values(values)
        )


async def _to_ask(till: Till, row_id: UUID) -> list[UUID]:
    """Return our invoices that this subscription is to ask for and does not yet."""
    async with till.database.transaction() as session:
        row = await session.get_one(StripeSubscription, row_id)
        if row.state != "running":
            return []
        found = await session.scalars(
            select(Invoice.id)
            .where(
                Invoice.organization_id == row.organization_id,
                Invoice.state.in_(OWING),
                Invoice.open_minor > 0,
                Invoice.collection == "automatic",
                Invoice.finalized_at >= row.started_at,
                Invoice.id.not_in(select(StripeItem.invoice_id)),
            )
            .order_by(Invoice.finalized_at, Invoice.id)
        )
        return list(found)


async def _place(till: Till, row_id: UUID, invoice_id: UUID) -> None:
    """Commit that Stripe is to ask for an invoice, and how much: what it does not ask for already."""
    async with _locked(till, row_id) as (session, row):
        await placing.take_turns(session, row.organization_id)
        # Before the invoice, so that a payment that succeeds in between is seen in one of the two.
        under_way = await session.scalar(
            select(func.count())
            .select_from(Payment)
            .where(
                Payment.organization_id == row.organization_id,
                Payment.state.in_(LIVE),
                or_(Payment.invoice_id == invoice_id, Payment.invoice_id.is_(None)),
            )
        )
        invoice = await session.get_one(Invoice, invoice_id)
        if row.state != "running" or under_way or not invoice.open_minor:
            return
        asked, owed = await _asked(session, row_id)
        asked += await recording.outstanding(session, row_id, until=invoice.period_end + _SLACK)
        amount = max(0, min(invoice.open_minor, owed + invoice.open_minor - asked))
        session.add(
            StripeItem(
                id=ids.uuid7(),
                organization_id=row.organization_id,
                subscription_id=row_id,
                invoice_id=invoice_id,
                amount_minor=amount,
                currency=invoice.currency,
                state="placed" if amount else "put",
                created_at=till.now(),
                updated_at=till.now(),
            )
        )


async def _asked(session: AsyncSession, row_id: UUID) -> tuple[int, int]:
    """Return what our items ask for, and what their invoices owe."""
    row = (
        await session.execute(
            select(
                func.coalesce(func.sum(StripeItem.amount_minor), 0),
                func.coalesce(func.sum(Invoice.open_minor), 0),
            )
            .join(Invoice, Invoice.id == StripeItem.invoice_id)
            .where(StripeItem.subscription_id == row_id, StripeItem.state.in_(choosing.ASKED))
        )
    ).one()
    return int(row[0] or 0), int(row[1] or 0)


async def _placed(till: Till, row_id: UUID) -> list[StripeItem]:
    async with till.database.transaction() as session:
        found = await session.scalars(
            select(StripeItem)
            .where(StripeItem.subscription_id == row_id, StripeItem.state == "placed")
            .order_by(StripeItem.id)
        )
        return list(found)


async def _put(till: Till, row_id: UUID, item: StripeItem) -> None:
    """Put an item on the draft that is open, else on an invoice that Stripe makes of what waits."""
    row = await _fresh(till, row_id)
    async with till.database.transaction() as session:
        customer = await accounts.known(session, row.organization_id, "stripe")
        number = await session.scalar(select(Invoice.number).where(Invoice.id == item.invoice_id))
    if row.provider_id is None or customer is None or row.state != "running":
        return
    api, there, amount = looking.api(till), row.provider_id, Money(item.currency, item.amount_minor)
    drafts = [each async for each in api.invoices(there, status="draft")]
    draft = next((each.provider_id for each in drafts if each.due.currency == item.currency), None)
    said = f"Invoice {number}"
    try:
        made, target = await api.put(str(item.id), customer.provider_id, there, amount, said, draft=draft)
    except ProviderRefusedError as error:
        if error.code != _NO_EDITS:
            raise
        made, target = await api.put(str(item.id), customer.provider_id, there, amount, said, draft=None)
    if target is None:
        await looking.take(till, await api.gather(customer.provider_id, there, item.currency, str(item.id)))
    async with till.database.transaction() as session:
        values = {"provider_id": made, "state": "put", "updated_at": till.now()}
        values |= {"stripe_invoice": target} if target is not None else {}
        await session.execute(
            update(StripeItem).where(StripeItem.id == item.id, StripeItem.state == "placed").values(values)
        )
    if target is not None:
        await looking.look_at_invoice(till, target)


async def _price(till: Till, ours: Ours) -> str:
    async with till.database.transaction() as session:
        row = await session.get(StripePrice, ours.version)
    if row is not None:
        return row.provider_id
    made = await looking.api(till).price(str(ours.version), ours.name, ours.flat)
    async with till.database.transaction() as session:
        session.add(
            StripePrice(
                plan_version_id=ours.version,
                provider_id=made,
                amount_minor=ours.flat.minor,
                currency=ours.flat.currency,
                created_at=till.now(),
            )
        )
    return made


async def _ours(till: Till, organization_id: UUID) -> Ours:
    async with till.database.transaction(organization=organization_id) as session:
        stands = await subscriptions.standing(session, organization_id, wall=till.now())
        running = stands.running
        name = await session.scalar(
            select(Plan.name)
            .join(PlanVersion, PlanVersion.plan_id == Plan.id)
            .where(PlanVersion.id == running.version.id)
        )
        time = await test_clock.time_of(session, organization_id)
        card = await cards.default(session, organization_id, provider="stripe")
        return Ours(
            state=running.subscription.state,
            version=running.version.id,
            name=name or running.plan,
            flat=from_decimal(running.version.currency, base_price(running.version.charges)),
            period_end=running.period.ends_at,
            on_default_plan=running.plan == subscriptions.DEFAULT_PLAN,
            has_test_clock=time.at(till.now()) != till.now(),
            method=card.provider_id if card is not None else None,
        )


async def _fresh(till: Till, row_id: UUID) -> StripeSubscription:
    async with till.database.transaction() as session:
        return await session.get_one(StripeSubscription, row_id)


@asynccontextmanager
async def _locked(till: Till, row_id: UUID) -> AsyncIterator[tuple[AsyncSession, StripeSubscription]]:
    async with till.database.transaction() as session:
        row = await session.get_one(StripeSubscription, row_id, with_for_update=True, populate_existing=True)
        yield session, row


async def _note(till: Till, row_id: UUID, problem: str) -> None:
    async with till.database.transaction() as session:
        await session.execute(
            update(StripeSubscription)
            .where(StripeSubscription.id == row_id, choosing.LIVE)
            .values(problem=problem[:500])
        )
