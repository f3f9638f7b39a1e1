"""The catalogue: what is on offer, and publishing a new version of a plan.

A published version never changes; a change is a new version, and organizations stay on the one they chose.
Publishing needs the worker's role; a plan is read by everybody.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator
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
from farebox.usage import meters

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
    meters: list[Any] = field(default_factory=list)


def _known_currency(value: str) -> str:
    if value not in MINOR_DIGITS:
        raise ValueError(f"unknown currency; known are {', '.join(sorted(MINOR_DIGITS))}")
    return value


def _readable_meters(value: list[Any]) -> list[Any]:
    meters.parse(value)
    return value


Currency = Annotated[str, AfterValidator(_known_currency)]
EntitlementCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,39}$")]
Entitlement = bool | int | float | Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
Entitlements = Annotated[dict[EntitlementCode, Entitlement], Field(max_length=100)]
"""What a plan allows beside requests, by code: true or false, a number, or a text."""


class LimitInput(Input):
    """At most `requests` in each `window` seconds."""

    name: Annotated[str, Field(pattern=_CODE_PATTERN)]
    requests: _Positive
    window: _Positive


class QuotaInput(Input):
    """Units in a billing period; hard stops at them, soft bills what lies beyond."""

    units: _Positive
    kind: Literal["hard", "soft"]


class VersionInput(Input):
    """What a version of a plan costs and allows. `charges` is the language of `farebox.invoices.charges`,
    `meters` that of `farebox.usage.meters`.
    """

    currency: Currency = "USD"
    meters: Annotated[list[Any], AfterValidator(_readable_meters), Field(default_factory=list)]
    charges: list[Any]
    limits: Annotated[list[LimitInput], Field(max_length=8, default_factory=list)]
    quota: QuotaInput | None = None
    without_counter: Literal["open", "closed"] = "open"
    trial_days: Annotated[int, Field(ge=0, le=730)] = 0
    entitlements: Entitlements = Field(default_factory=dict)

    @field_validator("charges")
    @classmethod
    def _billable(cls, value: list[Any], info: ValidationInfo) -> list[Any]:
        # Meters that cannot be read are refused by themselves.
        if "meters" in info.data:
            codes = [meter.code for meter in meters.parse(info.data["meters"])]
            charge_language.parse_billable(value, meters=codes)
        return value

    @property
    def columns(self) -> dict[str, Any]:
        """The version's own columns."""
        return {
            "currency": self.currency,
            "charges": self.charges,
            "limits": [limit.model_dump() for limit in self.limits],
            "quota": self.quota.model_dump() if self.quota else None,
            "without_counter": self.without_counter,
            "trial_days": self.trial_days,
            "entitlements": self.entitlements,
            "meters": self.meters,
        }


class PlanInput(VersionInput):
    """A plan as its file describes it, with its next version."""

    code: PlanCode
    name: Name
    public: bool = True


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
        select(Plan, PlanVersion)
        .join(PlanVersion, PlanVersion.plan_id == Plan.id)
        .where(PlanVersion.id == version_id)
    )
    return _offer((await session.execute(statement)).one())


async def publish(session: AsyncSession, document: PlanInput, *, now: datetime) -> Offer:
    """Publish a new version of the plan, making the plan if it is new. The gateways learn of it."""
    await add_version(session, document, state="published", published_at=now)
    await gateways.touch_catalogue(session)
    return await offer(session, document.code, everything=True)


async def add_version(
    session: AsyncSession, document: PlanInput, *, state: str, published_at: datetime | None
) -> PlanVersion:
    """Add the plan's next version, making the plan if it is new. Its name and visibility hold at once."""
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
    version = PlanVersion(
        id=ids.uuid7(),
        plan_id=plan.id,
        version=number,
        code=f"{document.code}-{number}",
        state=state,
        published_at=published_at,
        **document.columns,
    )
    session.add(version)
    await session.flush()
    return version


def _newest() -> Select[Plan, PlanVersion]:
    return (
        select(Plan, PlanVersion)
        .join(PlanVersion, PlanVersion.plan_id == Plan.id)
        .where(PlanVersion.state == "published")
        .ext(distinct_on(Plan.created_at, Plan.id))
        .order_by(Plan.created_at, Plan.id, PlanVersion.version.desc())
    )


def as_offer(plan: Plan, version: PlanVersion) -> Offer:
    """Return a version as an offer, whatever its state."""
    return Offer(
        version.id,
        plan.code,
        plan.name,
        version.version,
        version.code,
        version.currency,
        version.charges,
        version.limits,
        version.quota,
        version.trial_days,
        version.entitlements,
        version.meters,
    )


def _offer(row: Any) -> Offer:
    return as_offer(row.Plan, row.PlanVersion)
