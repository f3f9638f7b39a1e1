"""What Stripe has of managed subscriptions, fetched anew and recorded, whoever asks for it.

Asks between transactions; `farebox.payments.managed.recording` decides what it means.
"""

from sqlalchemy import select

from farebox.payments.accounts import Till
from farebox.payments.managed import choosing, recording
from farebox.payments.managed.calls import StripeSubscriptions
from farebox.payments.managed.model import StripeSubscription
from farebox.payments.managed.seen import SeenInvoice


def api(till: Till) -> StripeSubscriptions:
    """Return what talks to Stripe of subscriptions. Raises `Refusal` 503 if Stripe is off."""
    return till.providers.elements().subscriptions


async def look(till: Till, provider_id: str) -> bool:
    """Record a subscription as it is now at Stripe; False if it is none of ours."""
    seen = await api(till).observe(provider_id)
    async with till.database.transaction() as session:
        row = await recording.known(session, provider_id, seen.named)
        if row is None:
            return False
        await recording.subscription(session, row, seen, now=till.now())
    return True


async def look_at_invoice(till: Till, provider_id: str) -> bool:
    """Record one of Stripe's invoices as it is now; False if it is of no subscription of ours."""
    return await take(till, await api(till).invoice(provider_id))


async def look_at_all(till: Till) -> None:
    """Record every live subscription and its invoices as they are now."""
    async with till.database.transaction() as session:
        live = list(await session.scalars(select(StripeSubscription.provider_id).where(choosing.LIVE)))
    for provider_id in live:
        if provider_id is not None:
            await look_at_all_of(till, provider_id)


async def look_at_all_of(till: Till, provider_id: str) -> None:
    """Record a subscription and its invoices as they are now."""
    await look(till, provider_id)
    async for seen in api(till).invoices(provider_id):
        await take(till, seen)


async def take(till: Till, seen: SeenInvoice) -> bool:
    """Record an invoice as it was seen, with its payment as it is now; False if it is none of ours."""
    if seen.subscription is None:
        return False
    async with till.database.transaction() as session:
        if await recording.known(session, seen.subscription, None) is None:
            return False
    tried = None
    if seen.intent is not None and seen.state in {"open", "paid"}:
        tried = await till.providers.elements().observe(seen.intent)
    async with till.database.transaction() as session:
        owner = await recording.known(session, seen.subscription, None)
        if owner is None:
            return False
        await recording.invoice(session, owner, seen, tried, now=till.now())
    return True
