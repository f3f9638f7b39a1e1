"""Usage adds up to what the billable rule says of each line, period by period."""

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import Range

from farebox import ids
from farebox.clock import SystemClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox.organizations.model import Organization
from farebox.plans.model import PlanVersion
from farebox.subscriptions.model import BillingPeriod, Subscription
from farebox.usage import service
from farebox.usage.model import Node, UsageDimension, UsageFile, UsageRollup, UsageSegment, UsageStream
from farebox.usage.nodes import UnknownNodeError
from farebox_contract.billable import DEFAULT_RULE, RULES
from farebox_contract.usage_line import OUTCOMES

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
JANUARY = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Customer:
    """An organization with one subscription of two periods: the first, and the last."""

    organization: UUID
    subscription: UUID
    first: BillingPeriod
    last: BillingPeriod


@pytest_asyncio.fixture
async def worker(database: DatabaseUrls) -> AsyncIterator[Database]:
    """The database as the worker's role."""
    opened = Database(database.worker, pool_size=2)
    yield opened
    await opened.close()


async def plant(worker: Database, name: str) -> Customer:
    async with worker.transaction() as session:
        version = await session.scalar(select(PlanVersion.id).limit(1))
        organization = Organization(id=ids.uuid7(), public_id=f"org{name}", name=name)
        session.add(organization)
        await session.flush()
        subscription = Subscription(
            id=ids.uuid7(),
            organization_id=organization.id,
            public_id=f"sub{name}",
            plan_version_id=version,
            time_zone="UTC",
            started_at=NOVEMBER,
        )
        session.add(subscription)
        await session.flush()
        periods = [
            BillingPeriod(
                id=ids.uuid7(),
                organization_id=organization.id,
                subscription_id=subscription.id,
                starts_at=start,
                ends_at=end,
                is_first=start == NOVEMBER,
                is_last=start == DECEMBER,
            )
            for start, end in ((NOVEMBER, DECEMBER), (DECEMBER, JANUARY))
        ]
        session.add_all(periods)
    return Customer(organization.id, subscription.id, *periods)


async def use(worker: Database, customer: Customer | None, at: datetime, **members: Any) -> None:
    """Add usage of one dimension in the bucket that begins at `at`."""
    requests, units = members.pop("requests", 1), members.pop("units", 1)
    said = {
        "org": "someone", "sub": "", "key": "key1", "plan_group": "", "route": "messages",
        "environment": "live", "outcome": "served", "status": 200, **members,
    }  # fmt: skip
    async with worker.transaction() as session:
        dimension = await session.scalar(select(UsageDimension).filter_by(**said))
        if dimension is None:
            dimension = UsageDimension(
                organization_id=customer and customer.organization,
                subscription_id=customer and customer.subscription,
                **said,
            )
            session.add(dimension)
            await session.flush()
        session.add(
            UsageRollup(
                dimension_id=dimension.id, bucket=int(at.timestamp()),
                organization_id=customer and customer.organization, requests=requests, units=units,
                bytes_in=0, bytes_out=0, microseconds=0,
            )
        )  # fmt: skip


async def test_each_combination_is_billed_or_excluded_as_the_rule_says(worker: Database) -> None:
    """Every environment, outcome and a status of each kind: the rule of the contract is the only one."""
    customer = await plant(worker, "aaaaaaa")
    rule = RULES[DEFAULT_RULE]
    billable, excluded = Counter[str](), Counter[tuple[str, str]]()
    combinations = itertools.product(
        ("live", "test", ""), OUTCOMES, (0, 200, 299, 304, 404, 429, 499, 500, 503)
    )
    for number, (environment, outcome, status) in enumerate(combinations, start=1):
        units = number * 3
        members = {"environment": environment, "outcome": outcome, "status": status}
        await use(worker, customer, NOVEMBER, org="orgaaaaaaa", requests=number, units=units, **members)
        reason = rule(environment or None, outcome, status).reason
        if reason is None:
            billable.update(requests=number, units=units)
        else:
            excluded.update({(reason, "requests"): number, (reason, "units"): units})
    async with worker.transaction() as session:
        found = await service.period_quantities(session, customer.subscription, customer.first)
    assert found.rule == DEFAULT_RULE
    assert {"requests": found.billable.requests, "units": found.billable.units} == dict(billable)
    seen: dict[tuple[str, str], int] = {
        (reason, name): getattr(count, name)
        for reason, count in found.excluded.items()
        for name in ("requests", "units")
    }
    assert seen == dict(excluded)


async def test_no_unit_falls_between_periods(worker: Database) -> None:
    """A first period takes what lies before it, a last one what lies after, and each edge belongs to one."""
    customer = await plant(worker, "aaaaaaa")
    quarter = timedelta(minutes=15)
    instants = {
        NOVEMBER - timedelta(days=400): 1, NOVEMBER: 10, DECEMBER - quarter: 100, DECEMBER: 1_000,
        JANUARY - quarter: 10_000, JANUARY: 100_000, JANUARY + timedelta(days=400): 1_000_000,
    }  # fmt: skip
    for at, units in instants.items():
        await use(worker, customer, at, units=units)
    async with worker.transaction() as session:
        found = await service.quantities_for_periods(session, [customer.first.id, customer.last.id])
    assert found[customer.first.id].billable == service.Count(3, 111)
    assert found[customer.last.id].billable == service.Count(4, 1_111_000)


async def test_many_periods_are_asked_for_at_once(worker: Database) -> None:
    """Each gets its own, one without usage zeros; a period of another subscription is refused."""
    one, two = await plant(worker, "aaaaaaa"), await plant(worker, "bbbbbbb")
    await use(worker, one, NOVEMBER, org="orgaaaaaaa", units=5)
    await use(worker, two, NOVEMBER, org="orgbbbbbbb", units=7)
    async with worker.transaction() as session:
        found = await service.quantities_for_periods(session, [one.first.id, two.first.id, two.last.id])
        with pytest.raises(ValueError, match="does not belong"):
            await service.period_quantities(session, one.subscription, two.first)
        with pytest.raises(service.UnknownRuleError, match="served_v1"):
            await service.quantities_for_periods(session, [one.first.id], rule="nonsense")
    assert [found[period].billable.units for period in (one.first.id, two.first.id, two.last.id)] == [5, 7, 0]


async def test_a_summary_splits_by_key_route_outcome_and_local_day(
    worker: Database, database: DatabaseUrls
) -> None:
    """The parts add up to the whole; a tenant asks for himself and sees himself alone."""
    one, two = await plant(worker, "aaaaaaa"), await plant(worker, "bbbbbbb")
    late = NOVEMBER + timedelta(hours=23, minutes=15)
    await use(worker, one, late, key="k1", route="a", units=5)
    await use(worker, one, late, key="k2", route="b", units=2, outcome="rate_limited", status=429)
    await use(worker, one, NOVEMBER, key="k1", route="b", units=3)
    await use(worker, two, NOVEMBER, org="orgbbbbbbb", units=1_000)
    await use(worker, one, DECEMBER, key="k1", route="c", units=90)
    app = Database(database.app, pool_size=1)
    async with app.transaction(organization=one.organization) as session:
        found = await service.summary(
            session, one.organization, NOVEMBER, DECEMBER, time_zone="Europe/Berlin"
        )
        other = await service.summary(session, two.organization, NOVEMBER, DECEMBER)
        narrowed = await service.summary(
            session, one.organization, NOVEMBER, DECEMBER, keys=["k2"], breakdowns=()
        )
    await app.close()
    count = service.Count
    assert other.quantities.total == count()
    assert found.quantities.billable == count(2, 8)
    assert dict(found.quantities.excluded) == {"rate_limited": count(1, 2)}
    assert dict(found.by_outcome) == {"rate_limited": count(1, 2), "served": count(2, 8)}
    assert dict(found.by_key) == {
        "k1": service.Split(count(2, 8), count(2, 8)),
        "k2": service.Split(count(1, 2), count()),
    }
    assert {name: part.total.units for name, part in found.by_route.items()} == {"a": 5, "b": 5}
    assert {day.isoformat(): part.total.units for day, part in found.by_day.items()} == {
        "2026-11-01": 3,
        "2026-11-02": 7,
    }
    assert narrowed.quantities.total == count(1, 2)
    assert narrowed.by_key == {}


async def test_usage_outside_any_subscription_is_named(worker: Database) -> None:
    """It is counted for the organization, and on no invoice."""
    customer = await plant(worker, "aaaaaaa")
    await use(worker, customer, NOVEMBER, units=4)
    async with worker.transaction() as session:
        await session.execute(text("UPDATE usage_dimensions SET subscription_id = NULL"))
        found = await service.summary(session, customer.organization, NOVEMBER, DECEMBER)
        quantities = await service.period_quantities(session, customer.subscription, customer.first)
    assert found.without_subscription == service.Count(1, 4)
    assert quantities.total == service.Count()


async def test_the_statement_names_all_that_usage_of_the_window_rests_on(worker: Database) -> None:
    """Nodes, streams with their gaps, segments with their digests; nothing from outside the window."""
    earlier, later = NOVEMBER - timedelta(days=9), NOVEMBER + timedelta(days=9)
    async with worker.transaction() as session:
        session.add(Node(code="gw-1", read_to_end_at=later))
        await session.flush()
        file = UsageFile(node_code="gw-1", device=1, inode=2, fingerprint=b"\1" * 32, path="/logs/usage.log")
        session.add(file)
        await session.flush()
        for boot, at in (("old", earlier), ("new", later)):
            session.add(
                UsageStream(
                    node="gw-1", boot=boot, worker=0, highest=9, gaps=[Range(3, 5), Range(7, 8)],
                    first_at=at, last_at=at,
                )
            )  # fmt: skip
        for start, at in ((0, earlier), (50, later)):
            session.add(
                UsageSegment(
                    file_id=file.id, start_offset=start, end_offset=start + 50, sha256=b"\2" * 32, lines=4,
                    new_lines=2, duplicate_lines=1, quarantined_lines=1, first_at=at, last_at=at,
                )
            )  # fmt: skip
    await use(worker, None, later, org="nobodyhere", units=6)
    await use(worker, None, later, org="", environment="", outcome="unauthorized", status=401)
    async with worker.transaction() as session:
        found = await service.completeness(session, since=NOVEMBER, until=DECEMBER, now=DECEMBER)
        whole = await service.completeness(session, since=None, until=None, now=DECEMBER)
    assert found["version"] == 1
    assert found["taken_at"] == "2026-12-01T00:00:00Z"
    assert [(each["code"], each["read_to_end_at"]) for each in found["nodes"]] == [
        ("gw-1", "2026-11-10T00:00:00Z")
    ]
    assert [(each["boot"], each["gaps"]) for each in found["streams"]] == [("new", [[3, 4], [7, 7]])]
    assert (found["missing_lines"], whole["missing_lines"]) == (3, 6)
    assert (found["quarantined"], whole["quarantined"]) == (1, 2)
    assert found["unknown_organization"] == {"requests": 1, "units": 6}
    assert found["unauthenticated"] == {"requests": 1, "units": 1}
    (segment,) = found["segments"]
    assert (segment["file"], segment["start"], segment["end"]) == ("usage.log", 50, 100)
    assert (segment["fingerprint"], segment["sha256"]) == ("01" * 32, "02" * 32)
    assert len(whole["segments"]) == 2


async def test_a_node_is_waited_for_until_it_is_read_or_given_up(worker: Database) -> None:
    """Behind: never read to the end, or not later than the instant; retired ones are not waited for."""
    async with worker.transaction() as session:
        session.add_all(
            [Node(code="a", read_to_end_at=NOVEMBER), Node(code="b"), Node(code="c", read_to_end_at=DECEMBER)]
        )
        await session.flush()
        assert await service.behind(session, NOVEMBER - timedelta(seconds=1)) == ["b"]
        assert await service.behind(session, NOVEMBER) == ["a", "b"]
        report = await service.retire(session, "b", note="burnt", now=SystemClock().now())
        assert (report.state, report.retired_note) == ("retired", "burnt")
        assert await service.behind(session, NOVEMBER) == ["a"]
        with pytest.raises(UnknownNodeError, match="node list"):
            await service.retire(session, "z", note="burnt", now=SystemClock().now())
