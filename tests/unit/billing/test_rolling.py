"""Which periods follow, and which one is the last."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.subscriptions.periods import Period, period_containing
from farebox_worker.billing.rolling import Roll, due


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOVEMBER = Period(at("2026-11-15T10:07"), at("2026-12-01"))
DECEMBER = Period(at("2026-12-01"), at("2027-01-01"))
JANUARY = Period(at("2027-01-01"), at("2027-02-01"))


@pytest.mark.parametrize(
    ("now", "ended_at", "expected"),
    [
        ("2026-11-30T23:59:59", None, Roll()),
        ("2026-12-01", None, Roll((DECEMBER,))),
        ("2027-01-15", None, Roll((DECEMBER, JANUARY))),
        # Ended within the newest period, at its end, and before it began (a clock that was behind).
        ("2026-12-01", "2026-11-20", Roll(ends=at("2026-11-20"))),
        ("2026-12-09", "2026-12-01", Roll(ends=at("2026-12-01"))),
        ("2026-12-09", "2026-11-01", Roll(ends=NOVEMBER.start)),
        # Ended after an edge that nobody had rolled over: the periods in between exist all the same.
        ("2027-03-01", "2026-12-09", Roll((Period(at("2026-12-01"), at("2026-12-09")),), closed=True)),
        ("2027-03-01", "2027-01-01", Roll((DECEMBER,), closed=True)),
    ],
)
def test_every_case(now: str, ended_at: str | None, expected: Roll) -> None:
    """Worked by hand, around an upgrade on 15 November."""
    ended = None if ended_at is None else at(ended_at)
    assert due(NOVEMBER, time_zone="UTC", anchor_day=1, ended_at=ended, now=at(now)) == expected


@given(
    months=st.integers(0, 40),
    ended_after=st.none() | st.integers(0, 1500),
    anchor=st.integers(1, 31),
    zone=st.sampled_from(["UTC", "Pacific/Apia", "America/Santiago", "Europe/Berlin"]),
)
def test_periods_follow_each_other_to_the_present_or_the_end(
    months: int, ended_after: int | None, anchor: int, zone: str
) -> None:
    """No hole, no overlap; the newest one holds the present, or ends with the subscription."""
    rule = {"time_zone": zone, "anchor_day": anchor}
    start = at("2026-11-15T10:07")
    newest = Period(start, period_containing(start, **rule).end)  # type: ignore[arg-type]
    now = start + timedelta(days=30 * months)
    ended = None if ended_after is None else start + timedelta(days=ended_after)
    decided = due(newest, ended_at=ended, now=now, **rule)  # type: ignore[arg-type]
    chain = [newest, *decided.periods]
    for earlier, later in pairwise(chain):
        assert earlier.end == later.start < later.end
    if ended is None:
        assert decided.ends is None
        assert not decided.closed
        assert now < chain[-1].end
        assert now in chain[-1] or now < newest.end
    elif decided.ends is None:
        assert decided.closed
        assert chain[-1].end == ended
    else:
        assert decided.ends == ended <= newest.end
