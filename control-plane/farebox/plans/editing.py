"""The catalogue as operators edit it: drafts, publishing, withdrawing, deleting.

A published version is frozen: who is on it stays on it, whatever happens to its plan. Needs a session that
may write the catalogue (an operator's, or the worker's role).
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import problems
from farebox.gateways import service as gateways
from farebox.plans import service
from farebox.plans.model import Plan, PlanVersion
from farebox.plans.service import PlanInput, VersionInput
from farebox.problems import Refusal
from farebox.subscriptions.model import Subscription
from farebox.subscriptions.service import DEFAULT_PLAN, RUNNING


async def version_named(session: AsyncSession, code: str) -> PlanVersion:
    """Return a version by its code (`starter-2`), locked. Raises `Refusal` 404 (`unknown_plan`)."""
    found = (
        await session.scalars(
            select(PlanVersion)
            .where(PlanVersion.code == code)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).one_or_none()
    if found is None:
        raise Refusal(problems.UNKNOWN_PLAN, f"There is no plan version {code!r}.")
    return found


async def versions(session: AsyncSession) -> list[tuple[Plan, PlanVersion, int]]:
    """Return every version of every plan with the number of organizations on it, the oldest plan first."""
    riders = (
        select(func.count())
        .select_from(Subscription)
        .where(Subscription.plan_version_id == PlanVersion.id, RUNNING)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(Plan, PlanVersion, riders)
        .join(PlanVersion, PlanVersion.plan_id == Plan.id)
        .order_by(Plan.created_at, Plan.id, PlanVersion.version)
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def draft(session: AsyncSession, document: PlanInput) -> PlanVersion:
    """Add the plan's next version as a draft, making the plan if it is new. Nobody is offered it."""
    return await service.add_version(session, document, state="draft", published_at=None)


async def edit(session: AsyncSession, code: str, document: VersionInput) -> PlanVersion:
    """Replace what a draft says. Raises `Refusal` 409 for a version that was published."""
    version = await _draft(session, code)
    for name, value in document.columns.items():
        setattr(version, name, value)
    await session.flush()
    return version


async def publish(session: AsyncSession, code: str, *, now: datetime) -> PlanVersion:
    """Freeze a draft and offer it. Raises `Refusal` 409 for a version that was published already."""
    version = await _draft(session, code)
    version.state, version.published_at = "published", now
    await session.flush()
    await gateways.touch_catalogue(session)
    return version


async def withdraw(session: AsyncSession, code: str) -> PlanVersion:
    """Offer a version no more; who is on it stays. Raises `Refusal` 409 for the last of the default plan."""
    version = await version_named(session, code)
    if version.state == "draft":
        raise Refusal(problems.STILL_IN_USE, f"{code} is a draft; delete it instead.")
    others = await session.scalar(
        select(func.count())
        .select_from(PlanVersion)
        .join(Plan, Plan.id == PlanVersion.plan_id)
        .where(
            Plan.id == version.plan_id,
            Plan.code == DEFAULT_PLAN,
            PlanVersion.state == "published",
            PlanVersion.id != version.id,
        )
    )
    is_default = await session.scalar(select(Plan.code).where(Plan.id == version.plan_id)) == DEFAULT_PLAN
    if is_default and not others:
        raise Refusal(
            problems.STILL_IN_USE,
            f"Every organization begins with {code}; publish another version of {DEFAULT_PLAN} first.",
        )
    version.state = "withdrawn"
    await session.flush()
    return version


async def delete_draft(session: AsyncSession, code: str) -> None:
    """Delete a draft. Raises `Refusal` 409 for a version that was published."""
    version = await _draft(session, code)
    await session.delete(version)
    await session.flush()


async def delete_plan(session: AsyncSession, code: str) -> None:
    """Delete a plan that was never published. Raises `Refusal` 409 naming who is, or was, on it."""
    plan = (await session.scalars(select(Plan).where(Plan.code == code).with_for_update())).one_or_none()
    if plan is None:
        raise Refusal(problems.UNKNOWN_PLAN)
    on_it = await session.scalar(
        select(func.count())
        .select_from(Subscription)
        .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .where(PlanVersion.plan_id == plan.id, RUNNING)
    )
    if on_it:
        raise Refusal(
            problems.STILL_IN_USE,
            f"{on_it} organizations are on {code}; move them first, then withdraw its versions.",
            details={"organizations": on_it},
        )
    published = await session.scalar(
        select(func.count())
        .select_from(PlanVersion)
        .where(PlanVersion.plan_id == plan.id, PlanVersion.state != "draft")
    )
    if published:
        raise Refusal(
            problems.STILL_IN_USE,
            f"{code} was published, and invoices may rest on it; withdraw its versions instead.",
        )
    await session.execute(delete(PlanVersion).where(PlanVersion.plan_id == plan.id))
    await session.delete(plan)
    await session.flush()


async def riders(session: AsyncSession, version_id: UUID) -> list[UUID]:
    """Return the organizations on a version. The session must see all tenants."""
    rows = await session.scalars(
        select(Subscription.organization_id)
        .where(Subscription.plan_version_id == version_id, RUNNING)
        .order_by(Subscription.organization_id)
    )
    return list(rows)


async def _draft(session: AsyncSession, code: str) -> PlanVersion:
    version = await version_named(session, code)
    if version.state != "draft":
        raise Refusal(problems.PLAN_VERSION_FROZEN)
    return version
