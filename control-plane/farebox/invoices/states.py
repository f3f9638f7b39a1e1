"""An invoice's states and the named transitions between them. Pure.

`draft` is being written, `parked` waits for a person because it is over the safety bound, `finalized` has its
number and never changes again but for its state. A `void` invoice keeps its number and its sums.
"""

from dataclasses import dataclass
from typing import Final, Literal

State = Literal["draft", "parked", "finalized", "paid", "overdue", "void"]


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
PAY: Final = Transition("mark paid", ("finalized", "overdue"), "paid")
FALL_DUE: Final = Transition("mark overdue", ("finalized",), "overdue")
VOID: Final = Transition("void", ("finalized", "overdue"), "void")
TRANSITIONS: Final = (PARK, FINALIZE, PAY, FALL_DUE, VOID)


def after(transition: Transition, state: str) -> State:
    """Return the state that follows. Raises `TransitionError` naming what can be done instead."""
    if state in transition.sources:
        return transition.target
    possible = [each.name for each in TRANSITIONS if state in each.sources]
    remedy = f"; it can be: {', '.join(possible)}" if possible else "; nothing can change it any more"
    raise TransitionError(f"cannot {transition.name} an invoice that is {state}{remedy}")


def first_state(total_minor: int, *, ceiling_minor: int) -> State:
    """Return what a drafted invoice becomes at once: finalized, or parked beyond the safety bound."""
    transition = PARK if abs(total_minor) > ceiling_minor else FINALIZE
    return after(transition, "draft")
