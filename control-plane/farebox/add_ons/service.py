"""Add-ons: publishing their versions, and putting pieces of them on a subscription. Prices nothing.

Pieces stand on the subscription until taken off; a change of quantity ends one row and begins another at the
same instant, so that every instant has one quantity. They go along to the subscription that follows as long
as its currency is theirs.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.add_ons.model import AddOn, AddOnVersion, SubscriptionAddOn
from farebox.fields import Input, Name, PlanCode
from farebox.gateways import service as gateways
from farebox.invoices import charges as charge_language
from farebox.plans.service import Currency, Entitlements, LimitInput
from farebox.problems import Refusal
from farebox.subscriptions import service as subscriptions
from farebox.subscriptions import states
from farebox.subscriptions.model import Subscription


@dataclass(frozen=True, slots=True)
class Had:
    """What a subscription has of an add-on."""

    code: str
    version: str
    name: str
    quantity: int
    from_at: datetime


def _billable(value: list[Any]) -> list[Any]:
    charge_language.parse_billable(value, bounded=False)
    return value


class AddOnInput(Input):
    """An add-on with its next version; `charges` price one piece."""

    code: PlanCode
    name: Name
    public: bool = True
    currency: Currency = "USD"
    charges: Annotated[list[Any], AfterValidator(_billable)]
    limits: Annotated[list[LimitInput], Field(max_length=8, default_factory=list)]
    quota_units: Annotated[int, Field(ge=0, le=10**12)] = 0
    entitlements: Entitlements = Field(default_factory=dict)


async def publish(session: AsyncSession, document: AddOnInput, *, now: datetime) -> AddOnVersion:
    """Publish the add-on's next version, making the add-on if it is new. Who has an older one keeps it."""
    add_on = (
        await session.scalars(select(AddOn).where(AddOn.code == document.code).with_for_update())
    ).one_or_none()
    if add_on is None:
        add_on = AddOn(id=ids.uuid7(), code=document.code, name=document.name, public=document.public)
        session.add(add_on)
        await session.flush()
    add_on.name, add_on.public = document.name, document.public
    newest = await session.scalar(
        select(func.max(AddOnVersion.version)).where(AddOnVersion.add_on_id == add_on.id)
    )
    number = (newest or 0) + 1
    version = AddOnVersion(
        id=ids.uuid7(),
        add_on_id=add_on.id,
        version=number,
        code=f"{document.code}-{number}",
        state="published",
        currency=document.currency,
        charges=document.charges,
        limits=[limit.model_dump() for limit in document.limits],
        quota_units=document.quota_units,
        entitlements=document.entitlements,
        published_at=now,
    )
    session.add(version)
    await session.flush()
    return version


async def withdraw(session: AsyncSession, code: str) -> None:
    """Offer an add-on's versions no more; who has pieces keeps them. Raises `Refusal` 404."""
    found = list(
        await session.scalars(
            select(AddOnVersion)
            .join(AddOn, AddOn.id == AddOnVersion.add_on_id)
            .where(AddOn.code == code, AddOnVersion.state == "published")
        )
    )
    if not found:
        raise Refusal(problems.UNKNOWN_ADD_ON)
    for version in found:
        version.state = "withdrawn"
    await session.flush()


async def offered(session: AsyncSession, *, everything: bool = False) -> list[tuple[AddOn, AddOnVersion]]:
    """Return the newest published version of each public add-on (or of each)."""
    statement = (
        select(AddOn, AddOnVersion)
        .join(AddOnVersion, AddOnVersion.add_on_id == AddOn.id)
        .where(AddOnVersion.state == "published")
        .order_by(AddOn.created_at, AddOn.id, AddOnVersion.version)
    )
    if not everything:
        statement = statement.where(AddOn.public)
    newest = {row[0].id: (row[0], row[1]) for row in await session.execute(statement)}
    return list(newest.values())


async def put(
    session: AsyncSession,
    organization_id: UUID,
    code: str,
    quantity: int,
    *,
    wall: datetime,
    everything: bool = False,
) -> None:
    """Have `quantity` pieces of an add-on from now on; 0 takes it off. Asking twice changes nothing.

    Raises `Refusal` 404 for an unknown add-on, 409 where the subscription is suspended or paused, and 422 for
    an add-on in another currency than the plan's.
    """
    stands = await subscriptions.standing(session, organization_id, wall=wall)
    running, now = stands.running, stands.now
    rows = await session.execute(
        select(SubscriptionAddOn, AddOn.code)
        .join(AddOnVersion, AddOnVersion.id == SubscriptionAddOn.add_on_version_id)
        .join(AddOn, AddOn.id == AddOnVersion.add_on_id)
        .where(
            SubscriptionAddOn.subscription_id == running.subscription.id, SubscriptionAddOn.to_at.is_(None)
        )
    )
    had = next((row[0] for row in rows if row[1] == code), None)
    if (had.quantity if had else 0) == quantity:
        return
    if quantity and running.subscription.state not in states.SERVING:
        raise Refusal(
            problems.SUBSCRIPTION_STATE,
            f"The subscription is {running.subscription.state}; nothing can be added to it.",
        )
    version_id = had.add_on_version_id if had else None
    if had is None:
        offers = await offered(session, everything=everything)
        found = next((version for add_on, version in offers if add_on.code == code), None)
        if found is None:
            raise Refusal(problems.UNKNOWN_ADD_ON)
        if found.currency != running.version.currency:
            raise Refusal(
                problems.UNKNOWN_ADD_ON,
                f"{code} is not sold in {running.version.currency}, the plan's currency.",
            )
        version_id = found.id
    else:
        had.to_at = max(now, had.from_at)
    if quantity:
        session.add(
            SubscriptionAddOn(
                id=ids.uuid7(),
                organization_id=organization_id,
                subscription_id=running.subscription.id,
                add_on_version_id=version_id,
                quantity=quantity,
                from_at=now,
            )
        )
    await session.flush()
    await gateways.touch(session, organization_id)


async def had_by(session: AsyncSession, organization_id: UUID) -> list[Had]:
    """Return what the organization's running subscription has."""
    rows: Any = await session.execute(
        select(
            AddOn.code, AddOnVersion.code, AddOn.name, SubscriptionAddOn.quantity, SubscriptionAddOn.from_at
        )
        .join(AddOnVersion, AddOnVersion.id == SubscriptionAddOn.add_on_version_id)
        .join(AddOn, AddOn.id == AddOnVersion.add_on_id)
        .join(Subscription, Subscription.id == SubscriptionAddOn.subscription_id)
        .where(
            SubscriptionAddOn.organization_id == organization_id,
            SubscriptionAddOn.to_at.is_(None),
            subscriptions.RUNNING,
        )
        .order_by(AddOn.code)
    )
    return [Had(*row) for row in rows]
