"""When a period is closed: judged by wall time, node by node."""

from datetime import UTC, datetime, timedelta

import pytest

from farebox.clock import ClockOffset, OrganizationTime
from farebox.usage.nodes import NodeReport
from farebox_worker.billing.closing import Readiness, given_up, readiness

GRACE = timedelta(seconds=30)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def node(code: str, read_to: str | None, *, retired: str | None = None) -> NodeReport:
    return NodeReport(
        code=code,
        state="active" if retired is None else "retired",
        registered_at=at("2026-01-01"),
        reported_at=None,
        read_to_end_at=None if read_to is None else at(read_to),
        retired_at=None if retired is None else at(retired),
        retired_note=None,
        last_error=None,
    )


def judged(*nodes: NodeReport, now: str = "2026-12-01T00:10", until: str | None = None) -> Readiness:
    return readiness(
        at("2026-12-01"), OrganizationTime(), nodes, now=at(now), grace=GRACE,
        until=None if until is None else at(until),
    )  # fmt: skip


def test_every_active_node_must_have_been_read_past_end_and_grace() -> None:
    """Exactly at end plus grace is not past it; a node that never reported is behind, a retired one not."""
    past, exactly = node("a", "2026-12-01T00:00:30.001"), node("b", "2026-12-01T00:00:30")
    assert judged(past) == Readiness()
    assert judged(past, exactly) == Readiness("node_behind", ("b",))
    assert judged(past, node("c", None)) == Readiness("node_behind", ("c",))
    assert judged(past, node("d", None, retired="2026-11-20")) == Readiness()


def test_no_node_at_all_closes_nothing_and_only_retired_ones_do() -> None:
    """Where nobody ever read a log nothing is known; retiring the last node is a person's word that it is."""
    assert judged() == Readiness("no_node")
    assert judged(node("a", None, retired="2026-11-20")) == Readiness()


@pytest.mark.parametrize("until", ["2026-11-30T23:59:59.999", "2026-11-01"])
def test_until_and_the_present_both_bound(until: str) -> None:
    """What has not ended by then is not judged further."""
    ready = node("a", "2026-12-02")
    assert judged(ready, until=until) == Readiness("not_ended")
    assert judged(ready, until="2026-12-01") == Readiness()
    assert judged(ready, now="2026-11-30T23:59:59", until="2027-01-01") == Readiness("not_ended")


def test_a_test_clock_shortens_the_month_but_not_the_wait() -> None:
    """A leap at 12:00 of the wall ends the month there; the log must be read past 12:00:30."""
    time = OrganizationTime((ClockOffset(at("2026-11-10T12:00"), timedelta(days=60)),))
    for read_to, expected in (
        ("2026-11-10T12:00:30", Readiness("node_behind", ("a",))),
        ("2026-11-10T12:00:31", Readiness()),
    ):
        found = readiness(
            at("2026-12-01"), time, [node("a", read_to)], now=at("2026-11-10T12:05"), until=None, grace=GRACE
        )
        assert found == expected


@pytest.mark.parametrize(
    ("read_to", "retired", "named"),
    [
        (None, "2026-11-20", True),
        ("2026-11-19", "2026-11-20", True),
        ("2026-12-01T00:00:30", "2026-12-05", True),
        ("2026-12-01T00:00:31", "2026-12-05", False),  # read past the period before it was given up
        ("2026-10-30", "2026-10-31", False),  # given up before the period began
    ],
)
def test_a_retired_node_is_named_where_its_lines_may_be_missing(
    read_to: str | None, retired: str, *, named: bool
) -> None:
    """On the invoices of the periods that it may have served unread, and on no others."""
    nodes = [node("a", "2027-01-01"), node("b", read_to, retired=retired)]
    found = given_up(at("2026-11-01"), at("2026-12-01"), OrganizationTime(), nodes, grace=GRACE)
    assert [report.code for report in found] == (["b"] if named else [])
