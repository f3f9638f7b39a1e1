"""Reconciliation's comparison: complete in both directions."""

from hypothesis import given
from hypothesis import strategies as st

from farebox.money import Money
from farebox.payments.comparing import Entry, differences

ENTRIES = st.lists(
    st.builds(
        Entry,
        st.sampled_from(["payment", "refund", "dispute"]),
        st.sampled_from("abcd"),
        st.builds(Money, st.just("USD"), st.integers(1, 3)),
        st.sampled_from(["succeeded", "no money"]),
    ),
    unique_by=lambda entry: (entry.kind, entry.name),
)


@given(ENTRIES, ENTRIES)
def test_what_differs_is_named_once_and_nothing_else_is(ours: list[Entry], theirs: list[Entry]) -> None:
    """Exactly the names whose entries are unlike are in the result, whichever side has them."""
    unlike = {(one.kind, one.name) for one in set(ours) ^ set(theirs)}
    found = differences(ours, theirs)
    assert [(each.kind, each.name) for each in found] == sorted(unlike)
    mirrored = differences(theirs, ours)
    assert [(each.ours, each.theirs) for each in found] == [(each.theirs, each.ours) for each in mirrored]
