"""Our payments and the provider's, side by side. Pure: two lists in, the differences out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from farebox.money import Money

Kind = Literal["payment", "refund", "dispute"]
Fault = Literal["missing_here", "missing_there", "amount", "state"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing as one side has it. `name` is the provider's id; `state` in our words."""

    kind: Kind
    name: str
    amount: Money
    state: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not fit: `ours` and `theirs` as text, None where a side has nothing."""

    kind: Kind
    name: str
    fault: Fault
    ours: str | None
    theirs: str | None


def differences(ours: Iterable[Entry], theirs: Iterable[Entry]) -> list[Difference]:
    """Compare both ways, in the order of kinds and names; the amount before the state."""
    here = {(each.kind, each.name): each for each in ours}
    there = {(each.kind, each.name): each for each in theirs}
    found = []
    for key in sorted(here.keys() | there.keys()):
        difference = _difference(here.get(key), there.get(key))
        if difference is not None:
            found.append(difference)
    return found


def _difference(ours: Entry | None, theirs: Entry | None) -> Difference | None:
    if ours is None and theirs is not None:
        return Difference(theirs.kind, theirs.name, "missing_here", None, _said(theirs))
    if theirs is None and ours is not None:
        return Difference(ours.kind, ours.name, "missing_there", _said(ours), None)
    if ours is None or theirs is None:
        return None
    if ours.amount != theirs.amount:
        return Difference(ours.kind, ours.name, "amount", str(ours.amount), str(theirs.amount))
    if ours.state != theirs.state:
        return Difference(ours.kind, ours.name, "state", ours.state, theirs.state)
    return None


def _said(entry: Entry) -> str:
    return f"{entry.amount} {entry.state}"


def shown(difference: Difference, done: str) -> Mapping[str, str | None]:
    """Return a difference as it stands in a report, with what was done of it."""
    return {
        "kind": difference.kind,
        "name": difference.name,
        "fault": difference.fault,
        "ours": difference.ours,
        "theirs": difference.theirs,
        "done": done,
    }
