"""The schedule of dunning: what it takes, passes over and refuses, for any rules and any delay."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.dunning import schedule
from farebox.dunning.policy import MOST_STEPS, Policy, PolicyError, check, layered
from farebox.dunning.schedule import Decision, Facts, decide, foretell

DUE = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUSE: dict[str, Any] = {"retries": [0, 3, 5, 7], "reminders": [1, 7, 12], "grace": 3, "suspend_after": 14}
FACTS = Facts(since=DUE, warned_at=DUE, open_minor=1000, invoice_state="overdue", is_automatic=True, done={})

days = st.lists(st.integers(0, 60), max_size=6, unique=True).map(sorted).map(tuple)
policies = st.builds(
    Policy, retries=days, reminders=days, grace=st.integers(0, 20),
    suspend_after=st.none() | st.integers(0, 60),
)  # fmt: skip
protected = st.sampled_from(
    ["is_disputed", "is_paused", "is_exempt", "pays_by_invoice", "is_suspended", "under_way"]
)
delays = st.integers(0, 200 * 24).map(lambda hours: timedelta(hours=hours))


def after(facts: Facts, decision: Decision, now: datetime) -> Facts:
    """The facts once a decision was carried out and every charge failed."""
    done = dict(facts.done)
    for step in (*decision.skipped, *decision.steps):
        done[step.kind] = max(done.get(step.kind, 0), step.number)
    return replace(
        facts,
        done=done,
        is_suspended=facts.is_suspended or any(step.kind == "suspend" for step in decision.steps),
        last_attempt_at=now
        if any(step.kind == "charge" for step in decision.steps)
        else facts.last_attempt_at,
    )


@given(policies, delays, protected)
def test_whoever_is_protected_is_never_cut_off(policy: Policy, delay: timedelta, why: str) -> None:
    """Whatever the rules and however late."""
    changed: dict[str, Any] = {why: True}
    facts = replace(FACTS, **changed)
    assert all(step.kind != "suspend" for step in decide(policy, facts, DUE + delay).steps)


@given(policies, delays, st.sampled_from(["paid", "void", "draft"]), st.booleans())
def test_nothing_is_done_about_what_is_not_owed(
    policy: Policy, delay: timedelta, state: str, is_open: bool
) -> None:
    """Paid, void, or with nothing open: no letter, no charge, no end."""
    settled = replace(FACTS, invoice_state=state, open_minor=1000 if is_open else 0)
    assert decide(policy, settled, DUE + delay).is_exhausted
    assert decide(policy, replace(FACTS, open_minor=0), DUE + delay).is_exhausted


@given(policies, delays, delays)
def test_nobody_is_cut_off_within_the_grace(policy: Policy, opened: timedelta, later: timedelta) -> None:
    """The grace counts from when the case was opened, however late that was."""
    facts = replace(FACTS, warned_at=DUE + opened)
    now = DUE + opened + later
    if any(step.kind == "suspend" for step in decide(policy, facts, now).steps):
        assert later >= policy.grace * DAY
        assert policy.suspend_after is not None
        assert now - DUE >= policy.suspend_after * DAY


@given(policies, st.lists(delays, min_size=1, max_size=12))
def test_every_step_is_taken_at_most_once_and_a_burst_never(policy: Policy, pauses: list[timedelta]) -> None:
    """At any sequence of passes: one step of a kind at a time, numbers rise, a second look finds nothing."""
    seen: set[tuple[str, int]] = set()
    facts, now = FACTS, DUE
    for pause in pauses:
        now += pause
        for _ in range(2 + MOST_STEPS):
            decision = decide(policy, facts, now)
            kinds = [step.kind for step in decision.steps]
            assert len(kinds) == len(set(kinds))
            taken = {(step.kind, step.number) for step in (*decision.steps, *decision.skipped)}
            assert not taken & seen
            seen |= taken
            if not decision.steps:
                break
            facts = after(facts, decision, now)
        assert decide(policy, facts, now).steps == ()


@given(policies, st.integers(0, 100))
def test_what_is_foretold_is_what_an_eager_worker_does(policy: Policy, until: int) -> None:
    """Looking whenever the schedule says so takes exactly the steps of the preview, at the same instants."""
    end = DUE + until * DAY
    facts, now, done = FACTS, DUE, []
    while now <= end:
        decision = decide(policy, facts, now)
        done += [(step.kind, step.number, now) for step in decision.steps]
        facts = after(facts, decision, now)
        if decision.look_at is None:
            break
        now = max(now, decision.look_at)
    assert [(s.kind, s.number, s.at) for s in foretell(policy, FACTS, DUE, end)] == done


def test_the_last_charge_comes_before_the_end() -> None:
    """Due at the same instant, the card is tried first; service ends when that has failed."""
    policy = layered(HOUSE, {"retries": [14], "reminders": []})
    now = DUE + 14 * DAY
    first = decide(policy, FACTS, now)
    assert [step.kind for step in first.steps] == ["charge"]
    assert first.look_at == now
    assert [step.kind for step in decide(policy, after(FACTS, first, now), now).steps] == ["suspend"]


def test_a_written_off_debt_is_left_alone() -> None:
    """No step at any time; it still counts as owed."""
    facts = replace(FACTS, invoice_state="uncollectible")
    assert decide(layered(HOUSE), facts, DUE + 99 * DAY) == Decision(kept="written off")
    assert facts.is_owed


def test_the_next_attempt_is_none_after_the_last() -> None:
    """What a letter about a failed charge promises is what the schedule does."""
    policy = layered(HOUSE)
    assert schedule.next_charge(policy, FACTS, DUE - 14 * DAY) == DUE
    assert schedule.next_charge(policy, replace(FACTS, done={"charge": 1}), DUE) == DUE + 3 * DAY
    assert schedule.next_charge(policy, replace(FACTS, done={"charge": 4}), DUE + 7 * DAY) is None
    assert schedule.next_charge(policy, replace(FACTS, is_automatic=False), DUE) is None


def test_layers_name_only_what_differs() -> None:
    """An organization's rule goes over its plan's, which goes over the house's; null is a rule."""
    merged = layered(HOUSE, {"suspend_after": None, "grace": 9}, {"retries": []})
    assert merged == Policy(retries=(), reminders=(1, 7, 12), grace=9, suspend_after=None)
    with pytest.raises(PolicyError, match="suspend_after"):
        layered({"retries": [], "reminders": [], "grace": 1})


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        ({"retries": [3, 1]}, "retries"), ({"retries": [1, 1]}, "retries"),
        ({"reminders": "1,2"}, "reminders"),
        ({"reminders": [-1]}, "reminders"), ({"reminders": [1.5]}, "reminders"), ({"grace": None}, "grace"),
        ({"grace": 10**9}, "grace"), ({"suspend_after": True}, "suspend_after"), ({"retry": [1]}, "retry"),
        ({"retries": list(range(MOST_STEPS + 1))}, "retries"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_followed_are_refused_by_name(layer: dict[str, Any], field: str) -> None:
    """The error names the field."""
    with pytest.raises(PolicyError, match=field):
        check(layer)
