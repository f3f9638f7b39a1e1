"""The endpoints of usage: what was counted, by key, route and day, and the dashboard's few numbers.

A member sees what the keys that he created have used; owners and admins see everything.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import func, select, text

from farebox import ids, problems
from farebox.billing.fields import CountView, SplitView, count
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Future, Instant, Nothing, QueryInput, View
from farebox.keys.model import ApiKey
from farebox.organizations.permissions import Permission, allows
from farebox.problems import Refusal
from farebox.subscriptions.periods import BUCKET_SECONDS
from farebox.subscriptions.present import PRESENT, Present, present_of
from farebox.usage import service
from farebox.usage.quantities import NOTHING, Summary
from farebox.web import Answer, invalid

LONGEST: Final = timedelta(days=400)
_VISIBLE_KEYS: Final = text(
    "SELECT public_id FROM api_keys WHERE organization_id = :organization "
    "AND (CAST(:creator AS uuid) IS NULL OR created_by = CAST(:creator AS uuid)) "
    "AND (CAST(:key AS text) IS NULL OR public_id = CAST(:key AS text))"
)
Breakdown = Literal["key", "route", "day", "none"]


class UsageQuery(QueryInput):
    """Which usage to show. Without an instant: the running billing period."""

    start: Annotated[
        Future | None,
        Field(description="Included, taken up to the quarter hour; the period's start otherwise."),
    ] = None
    end: Annotated[Future | None, Field(description="Excluded; the period's end otherwise.")] = None
    key: Annotated[
        Annotated[str, StringConstraints(pattern=r"^key_[a-z0-9]{10}$")] | None,
        Field(description="Only this API key."),
    ] = None
    by: Annotated[Breakdown | None, Field(description="Only this breakdown; all three otherwise.")] = None


class KeyUsage(SplitView):
    """What one key used."""

    key: Annotated[str | None, Field(description="Null: requests whose key was not accepted.")]


class RouteUsage(SplitView):
    """What was used of one route."""

    route: Annotated[str | None, Field(description="Null: requests that matched no route.")]


class DayUsage(SplitView):
    """What was used on one local day."""

    day: Annotated[str, Field(json_schema_extra={"format": "date"})]


class UsageView(View):
    """Usage from `start` to `end`, in the organization's own time."""

    start: Instant
    end: Instant
    time_zone: Annotated[str, Field(description="Of the days in `by_day`.")]
    scope: Annotated[
        Literal["organization", "own_keys"], Field(description="Members see what their own keys used.")
    ]
    total: CountView
    billable: CountView
    excluded: Annotated[dict[str, CountView], Field(description="What is not billed, by the reason.")]
    by_outcome: dict[str, CountView]
    by_key: list[KeyUsage]
    by_route: list[RouteUsage]
    by_day: list[DayUsage]


class QuotaUse(View):
    """How much of the period's quota is used."""

    units: int
    kind: Literal["hard", "soft"]
    used: int
    remaining: int


class StatsView(View):
    """The dashboard's numbers for the running period."""

    plan: str
    period_start: Instant
    period_end: Instant
    scope: Literal["organization", "own_keys"]
    active_keys: int
    requests: int
    billable_units: int
    refused_requests: Annotated[int, Field(description="Answered 401, 403 or 429 at the gateway.")]
    failed_requests: Annotated[int, Field(description="The upstream failed.")]
    quota: Annotated[
        QuotaUse | None, Field(description="As counted so far, seconds behind the gateway; null: unlimited.")
    ]


@endpoint(
    "GET", "/billing/usage", "Show usage",
    tag="Billing", permission=Permission.VIEW_OWN_USAGE, query=UsageQuery, data=UsageView, reads=True,
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def usage(call: Call[Nothing, UsageQuery]) -> Answer[UsageView]:
    """Shows requests and units by key, route and day, seconds after they happened. What is billable is
    decided by a named rule; what is not is listed by its reason.
    """
    here = await _present(call)
    start, end = _stretch(call.query, here)
    breakdowns = _breakdowns(call.query.by)
    values = service.summary_values(
        call.organization_id,
        start,
        end,
        time_zone=here.time_zone,
        keys=await _keys(call, call.query.key),
    )
    rows = await call.rows(service.summary_statement(breakdowns), values)
    found = service.summary_of(rows, breakdowns)
    return Answer(_shown(found, start, end, here.time_zone, _scope(call)), "Usage shown.")


@endpoint(
    "GET", "/dashboard/stats", "Show the dashboard's numbers",
    tag="Dashboard", permission=Permission.VIEW_DASHBOARD, data=StatsView,
)  # fmt: skip
async def stats(call: Call[Nothing, Nothing]) -> Answer[StatsView]:
    """Shows what the running period has used so far, and how much of the quota is left."""
    here = await _present(call)
    keys = await _keys(call, None)
    start, end = _stretch(UsageQuery(), here)
    found = await service.summary(call.session, call.organization_id, start, end, keys=keys, breakdowns=())
    counted = select(func.count()).where(
        ApiKey.organization_id == call.organization_id, ApiKey.state == "active"
    )
    if keys is not None:
        counted = counted.where(ApiKey.created_by == call.user_id)
    outcomes = found.by_outcome
    refused = ("unauthorized", "forbidden", "rate_limited", "quota_exceeded")
    view = StatsView(
        plan=here.plan,
        period_start=here.period.start,
        period_end=here.period.end,
        scope=_scope(call),
        active_keys=await call.session.scalar(counted) or 0,
        requests=found.quantities.total.requests,
        billable_units=found.quantities.billable.units,
        refused_requests=sum(outcomes.get(name, NOTHING).requests for name in refused),
        failed_requests=outcomes.get("upstream_error", NOTHING).requests,
        quota=await _quota(call, here) if keys is None else None,
    )
    return Answer(view, "Numbers of the running period.")


async def _present(call: Call[Any, Any]) -> Present:
    rows = await call.rows(PRESENT, {"organization": call.organization_id})
    return present_of(rows[0], wall=call.now)


async def _quota(call: Call[Any, Any], here: Present) -> QuotaUse | None:
    if here.quota is None:
        return None
    units, used = int(here.quota["units"]), 0
    if here.period_id is not None:
        counted = await service.quantities_for_periods(call.session, [here.period_id])
        used = counted[here.period_id].billable.units
    return QuotaUse(units=units, kind=here.quota["kind"], used=used, remaining=max(0, units - used))


def _stretch(query: UsageQuery, here: Present) -> tuple[datetime, datetime]:
    # A period may begin within a quarter hour; what was counted in that quarter is shown whole.
    begin = here.period.start - timedelta(seconds=here.period.start.timestamp() % BUCKET_SECONDS)
    start, end = query.start or begin, query.end or here.period.end
    if end <= start:
        raise invalid("end", "must lie after start")
    if end - start > LONGEST:
        raise invalid("start", f"must lie within {LONGEST.days} days before end")
    return start, end


def _scope(call: Call[Any, Any]) -> Literal["organization", "own_keys"]:
    return "organization" if allows(call.role, Permission.VIEW_ALL_USAGE) else "own_keys"


async def _keys(call: Call[Any, Any], wanted: str | None) -> Collection[str] | None:
    if wanted is None and allows(call.role, Permission.VIEW_ALL_USAGE):
        return None
    sees_all = allows(call.role, Permission.VIEW_ALL_USAGE)
    values = {
        "organization": call.organization_id,
        "creator": None if sees_all else call.user_id,
        "key": ids.strip("key", wanted) if wanted is not None else None,
    }
    found = {row["public_id"] for row in await call.rows(_VISIBLE_KEYS, values)}
    if wanted is not None and not found:
        raise Refusal(problems.NOT_FOUND)
    return found


def _breakdowns(by: Breakdown | None) -> tuple[str, ...]:
    if by is None:
        return ("key", "route", "day")
    return () if by == "none" else (by,)


def _shown(
    found: Summary, start: datetime, end: datetime, zone: str, scope: Literal["organization", "own_keys"]
) -> UsageView:
    return UsageView.model_construct(
        start=start,
        end=end,
        time_zone=zone,
        scope=scope,
        total=count(found.quantities.total),
        billable=count(found.quantities.billable),
        excluded={reason: count(value) for reason, value in found.quantities.excluded.items()},
        by_outcome={outcome: count(value) for outcome, value in found.by_outcome.items()},
        by_key=[
            KeyUsage.model_construct(
                key=f"key_{key}" if key else None, total=count(value.total), billable=count(value.billable)
            )
            for key, value in found.by_key.items()
        ],
        by_route=[
            RouteUsage.model_construct(
                route=route or None, total=count(value.total), billable=count(value.billable)
            )
            for route, value in found.by_route.items()
        ],
        by_day=[
            DayUsage.model_construct(
                day=day.isoformat(), total=count(value.total), billable=count(value.billable)
            )
            for day, value in found.by_day.items()
        ],
    )


ENDPOINTS: Endpoints = (usage, stats)
