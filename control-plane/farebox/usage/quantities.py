"""What rollups add up to, once the billable rule has been applied. Pure: rows in, totals out.

The rule lives in `farebox_contract.billable` alone. SQL only groups by what the rule looks at
(environment, outcome, status), and the rule is applied here to each group, so there is no second copy of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from farebox_contract.billable import RULES, Decision, ExclusionReason


class UnknownRuleError(LookupError):
    """No billable rule has this name."""


@dataclass(frozen=True, slots=True)
class Count:
    """A number of requests and of the units they carried (a request is 1 unit unless metered otherwise)."""

    requests: int = 0
    units: int = 0

    def __add__(self, other: "Count") -> "Count":
        """Add the two, requests to requests and units to units."""
        return Count(self.requests + other.requests, self.units + other.units)


NOTHING: Final = Count()


@dataclass(frozen=True, slots=True)
class Cell:
    """Usage of one (environment, outcome, status); `environment` is empty where authentication failed."""

    environment: str
    outcome: str
    status: int
    count: Count


@dataclass(frozen=True, slots=True)
class Quantities:
    """Usage split by the named rule: what is billable, and the rest by the reason it is not."""

    rule: str
    billable: Count
    excluded: Mapping[ExclusionReason, Count]

    @property
    def total(self) -> Count:
        """Everything, billable or not."""
        return sum(self.excluded.values(), self.billable)


@dataclass(frozen=True, slots=True)
class Split:
    """All usage of something, and the billable part of it."""

    total: Count
    billable: Count


@dataclass(frozen=True, slots=True)
class Summary:
    """An organization's usage in a stretch of time.

    `by_outcome` has the line's outcomes as keys; `by_key` and `by_route` the public ids of keys and the codes
    of routes (empty text: the request matched none); `by_day` local days in the zone that was asked for.
    `without_subscription` is the part that names no subscription of this organization: on no invoice.
    """

    quantities: Quantities
    by_outcome: Mapping[str, Count]
    by_key: Mapping[str, Split]
    by_route: Mapping[str, Split]
    by_day: Mapping[date, Split]
    without_subscription: Count


def decide(rule: str, cell: Cell) -> Decision:
    """Apply the rule to a group. Raises `UnknownRuleError` for a rule that does not exist."""
    if rule not in RULES:
        raise UnknownRuleError(f"there is no billable rule {rule!r}; there are: {', '.join(sorted(RULES))}")
    return RULES[rule](cell.environment or None, cell.outcome, cell.status)


def split_by_reason(cells: Iterable[Cell], *, rule: str) -> Quantities:
    """Add up the cells into billable and excluded by reason."""
    billable = NOTHING
    excluded: defaultdict[ExclusionReason, Count] = defaultdict(Count)
    for cell in cells:
        reason = decide(rule, cell).reason
        if reason is None:
            billable += cell.count
        else:
            excluded[reason] += cell.count
    return Quantities(rule, billable, dict(sorted(excluded.items())))


def split(cells: Iterable[Cell], *, rule: str) -> Split:
    """Add up the cells into all and billable."""
    quantities = split_by_reason(cells, rule=rule)
    return Split(quantities.total, quantities.billable)


def by_outcome(cells: Iterable[Cell]) -> Mapping[str, Count]:
    """Add up the cells by their outcome."""
    counts: defaultdict[str, Count] = defaultdict(Count)
    for cell in cells:
        counts[cell.outcome] += cell.count
    return dict(sorted(counts.items()))
