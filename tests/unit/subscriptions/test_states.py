"""The state machine: every pair of state and transition has one answer, and the end is the end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.subscriptions import states
from farebox.subscriptions.states import STATES, TRANSITIONS, State, Transition, TransitionError

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
instants = st.none() | st.integers(-100, 100).map(lambda days: NOW + timedelta(days=days))


@given(
    state=st.sampled_from(STATES), transition=st.sampled_from(TRANSITIONS), standing=st.sampled_from(STATES)
)
def test_a_transition_leads_somewhere_or_is_refused_by_name(
    state: State, transition: Transition, standing: State
) -> None:
    """From its sources to its target, or to where the dates put it; from elsewhere a refusal names both."""
    if state in transition.sources:
        assert states.after(transition, state, standing=standing) == (transition.target or standing)
        return
    with pytest.raises(TransitionError, match=f"cannot {transition.name}: the subscription is {state}"):
        states.after(transition, state, standing=standing)


def test_nothing_leads_out_of_the_end() -> None:
    """An ended subscription is never revived; another follows it."""
    assert all("ended" not in transition.sources for transition in TRANSITIONS)


@given(trial_ends_at=instants, cancel_at=instants, paused_at=instants)
def test_lifting_a_suspension_never_frees_from_what_was_chosen(
    trial_ends_at: datetime | None, cancel_at: datetime | None, paused_at: datetime | None
) -> None:
    """Who paused stays paused, who cancelled stays cancelled, and a trial goes on only until its end."""
    found = states.standing(now=NOW, trial_ends_at=trial_ends_at, cancel_at=cancel_at, paused_at=paused_at)
    if paused_at is not None:
        assert found == "paused"
    elif cancel_at is not None:
        assert found == "cancelled"
    else:
        assert (found == "trialing") == (trial_ends_at is not None and trial_ends_at > NOW)


@pytest.mark.parametrize("state", STATES)
def test_a_debt_is_not_left_behind(state: State) -> None:
    """Changing or ending what is unpaid leads to something that is unpaid too."""
    assert states.inherited(state) == (state if state in {"past_due", "suspended"} else "active")
