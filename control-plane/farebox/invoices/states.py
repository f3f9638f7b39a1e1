"""An invoice's states and the named transitions between them. Pure.

`draft` is being written, `parked` waits for a person because it is over the safety bound, `finalized` has its
number and never changes again but for its state and what has been settled of it. A `void` invoice keeps its
number and its sums; an `uncollectible` one was given up on, and can still be paid.
"""

from dataclasses import dataclass
from typing import Final, Literal

State = Literal["draft", "parked", "finalized", "paid", "overdue", "void", "uncollectible"]


class TransitionError(ValueError):
    """The invoice is not in a state from which this can be done."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A named change of state."""

    name: str
    sources: tuple[State, ...]
    target: State


PARK: Final = Transition("park", ("draft",), "parked")
FINALIZE: Final = Transition("finalize", ("draft", "parked"), "finalized")
PAY: Final = Transition("mark paid", ("finalized", "overdue", "uncollectible"), "paid")
FALL_DUE: Final = Transition("mark overdue", ("finalized",), "overdue")
VOID: Final = Transition("void", ("finalized", "overdue"), "void")
WRITE_OFF: Final = Transition("write off", ("finalized", "overdue"), "uncollectible")
REOPEN: Final = Transition("reopen", ("paid", "overdue", "uncollectible"), "finalized")
REOPEN_LATE: Final = Transition("reopen as overdue", ("finalized", "paid", "uncollectible"), "overdue")
TRANSITIONS: Final = (PARK, FINALIZE, PAY, FALL_DUE, VOID, WRITE_OFF, REOPEN, REOPEN_LATE)


def after(transition: Transition, state: str) -> State:
    """Return the state that follows. Raises `TransitionError` naming what can be done instead."""
    if state in transition.sources:
        return transition.target
    possible = [each.name for each in TRANSITIONS if state in each.sources and "reopen" not in each.name]
    remedy = f"; it can be: {', '.join(possible)}" if possible else "; nothing can change it any more"
    raise TransitionError(f"cannot {transition.name} an invoice that is {state}{remedy}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Beyond these an invoice waits for a person: its amount, its lines, and what the account is asked for
    (or given back) within one day, this invoice included. Minor units, in either direction.
    """

    amount_minor: int
    lines: int
    daily_minor: int


def first_state(total_minor: int, *, lines: int, today_minor: int, bounds: Bounds) -> State:
    """Return what a drafted invoice becomes at once: finalized, or parked beyond a safety bound.

    `today_minor` is the sum of what the account's other invoices of the day came to, each without its sign.
    """
    is_absurd = (
        abs(total_minor) > bounds.amount_minor
        or lines > bounds.lines
        or today_minor + abs(total_minor) > bounds.daily_minor
    )
    return after(PARK if is_absurd else FINALIZE, "draft")
