"""An invoice changes state by named transitions alone."""

import itertools

import pytest

from farebox.invoices import states

ALL = ("draft", "parked", "finalized", "paid", "overdue", "void", "uncollectible")
ALLOWED = {
    ("park", "draft"): "parked",
    ("finalize", "draft"): "finalized",
    ("finalize", "parked"): "finalized",
    ("mark paid", "finalized"): "paid",
    ("mark paid", "overdue"): "paid",
    ("mark paid", "uncollectible"): "paid",
    ("mark overdue", "finalized"): "overdue",
    ("void", "finalized"): "void",
    ("void", "overdue"): "void",
    ("write off", "finalized"): "uncollectible",
    ("write off", "overdue"): "uncollectible",
    **{("reopen", state): "finalized" for state in ("paid", "overdue", "uncollectible")},
    **{("reopen as overdue", state): "overdue" for state in ("finalized", "paid", "uncollectible")},
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
    ("total", "lines", "today", "state"),
    [
        (0, 1, 0, "finalized"),
        (100, 5, 100, "finalized"),
        (101, 1, 0, "parked"),
        (-101, 1, 0, "parked"),
        (1, 6, 0, "parked"),
        (100, 5, 101, "parked"),
        (-1, 5, 200, "parked"),
    ],
)
def test_an_absurd_invoice_waits_for_a_person(total: int, lines: int, today: int, state: str) -> None:
    """Beyond a bound on the amount, the lines or the account's day, in either direction, nothing is
    issued."""
    bounds = states.Bounds(amount_minor=100, lines=5, daily_minor=200)
    assert states.first_state(total, lines=lines, today_minor=today, bounds=bounds) == state
