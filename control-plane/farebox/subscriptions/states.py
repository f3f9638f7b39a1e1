"""A subscription's states and the named transitions between them. Pure.

`trialing` serves and owes nothing yet; `active` serves; `past_due` serves although an invoice is unpaid;
`suspended` and `paused` serve nothing, the one because of us, the other at the customer's wish; `cancelled`
serves until its end; `ended` is over for good, and another subscription has taken its place. What leads back
to service (`reinstate`, `resume`, `undo cancellation`) leads to where the subscription stands by its dates.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

State = Literal["trialing", "active", "past_due", "suspended", "paused", "cancelled", "ended"]
STATES: Final[tuple[State, ...]] = (
    "trialing", "active", "past_due", "suspended", "paused", "cancelled", "ended",
)  # fmt: skip
SERVING: Final[frozenset[State]] = frozenset({"trialing", "active", "past_due", "cancelled"})
"""The states in which the gateways answer; in the other running ones they say `account_suspended`."""


class TransitionError(ValueError):
    """The subscription is not in a state from which this can be done."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A named change of state. `target` is None where the dates decide (`standing`)."""

    name: str
    sources: tuple[State, ...]
    target: State | None


START: Final = Transition("start", (), "active")
START_TRIAL: Final = Transition("start trial", (), "trialing")
CONVERT: Final = Transition("end trial", ("trialing",), "active")
MARK_PAST_DUE: Final = Transition("mark past due", ("active", "trialing"), "past_due")
SUSPEND: Final = Transition("suspend", ("active", "trialing", "past_due", "paused", "cancelled"), "suspended")
REINSTATE: Final = Transition("reinstate", ("past_due", "suspended"), None)
PAUSE: Final = Transition("pause", ("active",), "paused")
RESUME: Final = Transition("resume", ("paused",), None)
CANCEL: Final = Transition("cancel", ("active", "trialing", "past_due"), "cancelled")
UNDO_CANCEL: Final = Transition("undo cancellation", ("cancelled",), None)
CHANGE: Final = Transition("change plan", ("active", "trialing", "past_due", "cancelled"), "ended")
SCHEDULE_CHANGE: Final = Transition("schedule change", ("active", "trialing", "past_due"), None)
DROP_CHANGE: Final = Transition("drop scheduled change", ("active", "trialing", "past_due"), None)
END: Final = Transition(
    "end", ("active", "trialing", "past_due", "suspended", "paused", "cancelled"), "ended"
)
TRANSITIONS: Final = (
    START, START_TRIAL, CONVERT, MARK_PAST_DUE, SUSPEND, REINSTATE, PAUSE, RESUME, CANCEL, UNDO_CANCEL,
    CHANGE, SCHEDULE_CHANGE, DROP_CHANGE, END,
)  # fmt: skip
_ASKED_FOR: Final = (CHANGE, CANCEL, UNDO_CANCEL, PAUSE, RESUME)


def standing(
    *,
    now: datetime,
    trial_ends_at: datetime | None,
    cancel_at: datetime | None,
    paused_at: datetime | None = None,
) -> State:
    """Return where a subscription stands by its dates, once we keep nothing from it."""
    if paused_at is not None:
        return "paused"
    if cancel_at is not None:
        return "cancelled"
    return "trialing" if trial_ends_at is not None and now < trial_ends_at else "active"


def after(transition: Transition, state: str, *, standing: State = "active") -> State:
    """Return the state that follows. Raises `TransitionError` naming what can be done instead."""
    if state in transition.sources:
        return transition.target or standing
    possible = [each.name for each in _ASKED_FOR if state in each.sources]
    remedy = f"; it can be asked to {', '.join(possible)}" if possible else ""
    raise TransitionError(f"cannot {transition.name}: the subscription is {state}{remedy}")


def inherited(state: str) -> State:
    """Return how the subscription starts that follows one in `state`: a debt is not left behind."""
    return "suspended" if state == "suspended" else "past_due" if state == "past_due" else "active"
