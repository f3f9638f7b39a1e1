"""Organizations and who belongs to them. Owns memberships; knows keys and money no further than the start."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import available_timezones

from sqlalchemy import Row, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.db import enter_organization
from farebox.gateways import service as gateways
from farebox.organizations.model import Membership, Organization
from farebox.organizations.permissions import Role
from farebox.outbox import PAYMENT_CUSTOMER, enqueue
from farebox.plans import service as plans
from farebox.problems import Refusal
from farebox.subscriptions import service as subscriptions
from farebox.users.model import User
from farebox_contract.keys import public_id

ORGANIZATIONS_PER_USER: Final = 20
_OF_USER: Final = text(
    "SELECT organization_id, public_id, name, state, role FROM farebox_memberships_of(:user)"
)


@dataclass(frozen=True, slots=True)
class Belonging:
    """An organization as one of its members sees it."""

    organization_id: UUID
    public_id: str
    name: str
    state: str
    role: Role


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The names of the IANA time zone database."""
    return frozenset(available_timezones())


async def found(
    session: AsyncSession, *, owner: UUID, name: str, time_zone: str, metadata: dict[str, str], now: datetime
) -> Organization:
    """Make an organization with its owner, on the free plan. Enters it: the session then shows its rows.

    Raises `Refusal` 409 when the user belongs to as many organizations as a user may.
    """
    if len(await of_user(session, owner)) >= ORGANIZATIONS_PER_USER:
        raise Refusal(problems.TOO_MANY_ORGANIZATIONS, details={"maximum": ORGANIZATIONS_PER_USER})
    offer = await plans.offer(session, subscriptions.DEFAULT_PLAN, everything=True)
    organization = Organization(
        id=ids.uuid7(), public_id=public_id(), name=name, time_zone=time_zone, extra=metadata, created_at=now
    )
    await enter_organization(session, organization.id)
    session.add(organization)
    await session.flush()
    session.add(Membership(organization_id=organization.id, user_id=owner, role=Role.OWNER.value))
    await subscriptions.start(session, organization.id, offer, time_zone=time_zone, now=now)
    await gateways.touch(session, organization.id)
    await enqueue(session, PAYMENT_CUSTOMER, organization=organization.id)
    return organization


async def of_user(session: AsyncSession, user_id: UUID) -> list[Belonging]:
    """Return the user's organizations, the longest-standing membership first."""
    rows = await session.execute(_OF_USER, {"user": user_id})
    return [_belonging(row) for row in rows]


async def get(session: AsyncSession, organization_id: UUID) -> Organization:
    """Return the entered organization. Raises `Refusal` 404."""
    organization = await session.get(Organization, organization_id)
    if organization is None:
        raise Refusal(problems.NOT_FOUND)
    return organization


async def by_public_id(session: AsyncSession, text_id: str) -> Organization:
    """Return an organization by `org_…` or its bare public id, for commands. Needs the worker's role."""
    bare = text_id.removeprefix("org_")
    found_one = (
        await session.scalars(select(Organization).where(Organization.public_id == bare))
    ).one_or_none()
    if found_one is None:
        raise Refusal(problems.NOT_FOUND, f"there is no organization {text_id!r}")
    return found_one


async def search(session: AsyncSession, name: str | None, *, limit: int) -> list[Organization]:
    """Return organizations whose name contains `name`, the newest first. Needs the worker's role."""
    statement = select(Organization).order_by(Organization.id.desc()).limit(limit)
    if name:
        statement = statement.where(Organization.name.icontains(name, autoescape=True))
    return list(await session.scalars(statement))


async def put_member(session: AsyncSession, organization_id: UUID, email: str, role: Role) -> None:
    """Give a user a role. Needs the worker's role. Raises `Refusal` if there is no such user."""
    user_id = await session.scalar(select(User.id).where(User.email == email))
    if user_id is None:
        raise Refusal(problems.NOT_FOUND, f"nobody is registered with {email}")
    await session.execute(
        insert(Membership)
        .values(organization_id=organization_id, user_id=user_id, role=role.value)
        .on_conflict_do_update(
            index_elements=[Membership.organization_id, Membership.user_id], set_={"role": role.value}
        )
    )


def _belonging(row: Row[Any]) -> Belonging:
    return Belonging(row.organization_id, row.public_id, row.name, row.state, Role(row.role))
