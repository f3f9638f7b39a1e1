"""The catalogue: what is on offer, and publishing a new version of a plan.

A published version never changes; a change is a new version, and organizations stay on the one they chose.
Publishing needs the worker's role; a plan is read by everybody.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, Field
from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.fields import Input, Name, PlanCode
from farebox.gateways import service as gateways
from farebox.invoices import charges as charge_language
from farebox.money import MINOR_DIGITS
from farebox.plans.model import Plan, PlanVersion
from farebox.problems import Refusal

_CODE_PATTERN: Final = r"^[a-zA-Z0-9_.-]{1,64}$"
_Positive = Annotated[int, Field(ge=1, le=10**12)]


@dataclass(frozen=True, slots=True)
class Offer:
    """A published version of a plan."""

    version_id: UUID
    plan: str
    name: str
    version: int
    code: str
    currency: str
    charges: list[Any]
    limits: list[Any]
    quota: dict[str, Any] | None
    trial_days: int = 0
    entitlements: dict[str, Any] = field(default_factory=dict)


def _known_currency(value: str) -> str:
    if value not in MINOR_DIGITS:
        raise ValueError(f"unknown currency; known are {', '.join(sorted(MINOR_DIGITS))}")
    return value


def _readable_charges(value: list[Any]) -> list[Any]:
    charge_language.parse(value)
    return value


class LimitInput(Input):
    """At most `requests` in each `window` seconds."""

    name: Annotated[str, Field(pattern=_CODE_PATTERN)]
    requests: _Positive
    window: _Positive


class QuotaInput(Input):
    """Units in a billing period; hard stops at them, soft bills what lies beyond."""

    units: _Positive
    kind: Literal["hard", "soft"]


class PlanInput(Input):
    """A plan as its file describes it. `charges` is the rating language of `farebox.invoices.charges`."""

    code: PlanCode
    name: Name
    public: bool = True
    currency: Annotated[str, AfterValidator(_known_currency)] = "USD"
    charges: Annotated[list[Any], AfterValidator(_readable_charges)]
    limits: Annotated[list[LimitInput], Field(max_length=8, default_factory=list)]
    quota: QuotaInput | None = None
    without_counter: Literal["open", "closed"] = "open"


async def offers(session: AsyncSession, *, everything: bool = False) -> list[Offer]:
    """Return the newest published version of each public plan (or of each plan), the oldest plan first."""
    statement = _newest()
    if not everything:
        statement = statement.where(Plan.public)
    return [_offer(row) for row in await session.execute(statement)]


async def offer(session: AsyncSession, plan: str, *, everything: bool = False) -> Offer:
    """Return the newest published version of a plan on offer. Raises `Refusal` 404 (`unknown_plan`)."""
    statement = _newest().where(Plan.code == plan)
    if not everything:
        statement = statement.where(Plan.public)
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise Refusal(problems.UNKNOWN_PLAN)
    return _offer(row)


async def offer_of_version(session: AsyncSession, version_id: UUID) -> Offer:
    """Return a published or withdrawn version as an offer, for those who are on it or were promised it."""
    statement = (
        select(Plan.code.label("plan"), Plan.name, PlanVersion)
        .join(PlanVersion, PlanVersion.plan_id == Plan.id)
        .where(PlanVersion.id == version_id)
    )
    return _offer((await session.execute(statement)).one())


async def publish(session: AsyncSession, document: PlanInput, *, now: datetime) -> Offer:
    """Publish a new version of the plan, making the plan if it is new. The gateways learn of it."""
    plan = (
        await session.scalars(select(Plan).where(Plan.code == document.code).with_for_update())
    ).one_or_none()
    if plan is None:
        plan = Plan(id=ids.uuid7(), code=document.code, name=document.name, public=document.public)
        session.add(plan)
        await session.flush()
    plan.name, plan.public = document.name, document.public
    newest = await session.scalar(select(func.max(PlanVersion.version)).where(PlanVersion.plan_id == plan.id))
    number = (newest or 0) + 1
    session.add(
        PlanVersion(
            id=ids.uuid7(),
            plan_id=plan.id,
            version=number,
            code=f"{document.code}-{number}",
            state="published",
            currency=document.currency,
            charges=document.charges,
            limits=[limit.model_dump() for limit in document.limits],
            quota=document.quota.model_dump() if document.quota else None,
            without_counter=document.without_counter,
            published_at=now,
        )
    )
    await session.flush()
    await gateways.touch_catalogue(session)
    return await offer(session, document.code, everything=True)


def _newest() -> Select[str, str, PlanVersion]:
    return (
        select(Plan.code.label("plan"), Plan.name, PlanVersion)
        .join(PlanVersion, PlanVersion.plan_id == Plan.id)
        .where(PlanVersion.state == "published")
        .ext(distinct_on(Plan.created_at, Plan.id))
        .order_by(Plan.created_at, Plan.id, PlanVersion.version.desc())
    )


def _offer(row: Any) -> Offer:
    version: PlanVersion = row.PlanVersion
    return Offer(
        version.id,
        row.plan,
        row.name,
        version.version,
        version.code,
        version.currency,
        version.charges,
        version.limits,
        version.quota,
        version.trial_days,
        version.entitlements,
    )
