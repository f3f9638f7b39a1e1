"""An invoice changes state by named transitions alone."""

import itertools

import pytest

from farebox.invoices import states

ALL = ("draft", "parked", "finalized", "paid", "overdue", "void")
ALLOWED = {
    ("park", "draft"): "parked",
    ("finalize", "draft"): "finalized",
    ("finalize", "parked"): "finalized",
    ("mark paid", "finalized"): "paid",
    ("mark paid", "overdue"): "paid",
    ("mark overdue", "finalized"): "overdue",
    ("void", "finalized"): "void",
    ("void", "overdue"): "void",
}


@pytest.mark.parametrize(("transition", "state"), list(itertools.product(states.TRANSITIONS, ALL)))
def test_every_cell_of_the_table(transition: states.Transition, state: str) -> None:
    """What is not allowed is refused, with what could be done instead."""
    expected = ALLOWED.get((transition.name, state))
    if expected is not None:
        assert states.after(transition, state) == expected
        return
    with pytest.raises(states.TransitionError, match=f"cannot {transition.name} an invoice that is {state}"):
        states.after(transition, state)


@pytest.mark.parametrize(
    ("total", "state"), [(0, "finalized"), (100, "finalized"), (101, "parked"), (-101, "parked")]
)
def test_an_absurd_invoice_waits_for_a_person(total: int, state: str) -> None:
    """Beyond the safety bound, in either direction, nothing is issued."""
    assert states.first_state(total, ceiling_minor=100) == state
