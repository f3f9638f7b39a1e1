"""A credit note inverts: to the last minor unit, in whole or in any number of parts."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.credit_notes.inverting import CreditError, Inverted, Line, Tax, invert
from farebox.money import Money
from farebox.taxes import levying

AMOUNTS = st.integers(-50_000, 10**9)
RATES = st.lists(st.decimals(0, 30, places=3), min_size=0, max_size=3)


@st.composite
def invoices(draw: st.DrawFn) -> tuple[list[Line], list[Tax]]:
    """An invoice as drafting makes it: lines of both signs, and taxes on top of the prices or within them."""
    amounts = draw(st.lists(AMOUNTS, min_size=1, max_size=8))
    amounts.append(draw(st.integers(1, 10**6)) + max(0, -sum(amounts)))
    lines = [Line(position, minor) for position, minor in enumerate(amounts, start=1)]
    inclusive = draw(st.booleans())
    levied = levying.levy(
        [levying.Tax("levied", f"tax {n}", "DE", "", rate, inclusive) for n, rate in enumerate(draw(RATES))],
        Money("EUR", sum(amounts)),
    )
    within = levying.included(levied, "EUR").minor
    if within:
        lines.append(Line(len(lines) + 1, -within, within=True))
    return lines, [Tax(n, each.amount.minor, inclusive) for n, each in enumerate(levied, start=1)]


def summed(notes: list[Inverted]) -> tuple[Counter[int], Counter[int]]:
    lines, taxes = Counter[int](), Counter[int]()
    for note in notes:
        lines.update(note.lines)
        taxes.update(note.taxes)
    return lines, taxes


@given(invoices(), st.data())
def test_an_invoice_and_its_notes_sum_to_zero(
    invoice: tuple[list[Line], list[Tax]], data: st.DataObject
) -> None:
    """Parts in any order and size, then the rest: the sum is zero, and every tax is; on the way nothing was
    credited beyond what was invoiced.
    """
    lines, taxes = invoice
    notes: list[Inverted] = []
    for _ in range(data.draw(st.integers(0, 5))):
        line = data.draw(st.sampled_from([each for each in lines if not each.within]))
        amount = data.draw(st.none() | st.integers(1, max(1, abs(line.minor))))
        try:
            notes.append(invert(lines, taxes, notes, {line.position: amount}))
        except CreditError:
            continue
        so_far, tax_so_far = summed(notes)
        assert notes[-1].total < 0
        for each in lines:
            assert 0 <= -so_far[each.position] * (1 if each.minor >= 0 else -1) <= abs(each.minor)
        for tax in taxes:
            assert 0 <= -tax_so_far[tax.position] <= tax.minor
    try:
        notes.append(invert(lines, taxes, notes))
    except CreditError:
        reached = summed(notes)[0]
        assert sum(each.minor + reached[each.position] for each in lines) == 0
    so_far, tax_so_far = summed(notes)
    assert sum(each.minor + so_far[each.position] for each in lines) == 0
    assert all(tax.minor + tax_so_far[tax.position] == 0 for tax in taxes)
    with pytest.raises(CreditError):
        invert(lines, taxes, notes)


@given(invoices())
def test_a_whole_note_is_the_invoice_with_the_other_sign(invoice: tuple[list[Line], list[Tax]]) -> None:
    """Line by line and tax by tax; lines of nothing are left out."""
    lines, taxes = invoice
    note = invert(lines, taxes, [])
    assert note.lines == {line.position: -line.minor for line in lines if line.minor}
    assert note.taxes == {tax.position: -tax.minor for tax in taxes}


def test_a_part_takes_its_share_of_the_tax() -> None:
    """Of 100.00 with 19 % on top, 33.33 credited takes 6.33 of tax; the other 66.67 takes 12.67."""
    lines, taxes = [Line(1, 100_00)], [Tax(1, 19_00)]
    first = invert(lines, taxes, [], {1: 33_33})
    assert (first.subtotal, first.tax, first.total) == (-33_33, -6_33, -39_66)
    second = invert(lines, taxes, [first])
    assert (second.subtotal, second.tax) == (-66_67, -12_67)


def test_tax_within_prices_comes_out_of_them() -> None:
    """Of 119.00 that hold 19.00, crediting 59.50 gives exactly that back: 50.00 and 9.50 of tax."""
    lines = [Line(1, 119_00), Line(2, -19_00, within=True)]
    note = invert(lines, [Tax(1, 19_00, inclusive=True)], [], {1: 59_50})
    assert (note.lines, note.taxes, note.total) == ({1: -59_50, 2: 9_50}, {1: -9_50}, -59_50)


@pytest.mark.parametrize(
    ("wanted", "problem", "left"),
    [
        ({9: None}, "no line", 0),
        ({3: None}, "no line", 0),
        ({1: 0}, "above zero", 100_00),
        ({1: 100_01}, "at most what is left", 100_00),
        ({2: None}, "come to nothing", 0),
        ({1: None}, "more than is left", 90_00),
        ({}, "come to nothing", 0),
    ],
)
def test_what_cannot_be_credited_is_refused(wanted: dict[int, int | None], problem: str, left: int) -> None:
    """An unknown line, the tax by itself, too much of a line, a discount alone, and the gross of a discounted
    invoice.
    """
    lines = [Line(1, 100_00), Line(2, -10_00), Line(3, -14_37, within=True)]
    with pytest.raises(CreditError, match=problem) as raised:
        invert(lines, [Tax(1, 14_37, inclusive=True)], [], wanted)
    assert raised.value.left == left


def test_rounding_is_half_to_even() -> None:
    """Half a cent of tax goes to the even cent, and the last note takes what is left."""
    lines, taxes = [Line(1, 2), Line(2, 2)], [Tax(1, 1)]
    assert [invert(lines, taxes, [], {1: None}).tax, Decimal(0)] == [0, 0]
