"""What a billing run says of itself, for the command, the log and the tests."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from farebox.invoices.service import Issued
from farebox_worker.billing.closing import Reason


@dataclass(frozen=True, slots=True)
class Failure:
    """An organization that could not be billed, and why."""

    organization: str
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many ended periods wait, and for what: `node_behind` (which),or `no_node`."""

    reason: Reason
    periods: int
    nodes: tuple[str, ...] = ()


@dataclass(slots=True)
class BillingReport:
    """What a run did. `totals` are minor units by currency, parked invoices left out; `overtaken` counts
    invoices not written because what they rest on had changed meanwhile (another run, a change of plan).
    """

    rolled: int = 0
    finalized: int = 0
    parked: int = 0
    corrections: int = 0
    first_number: str | None = None
    last_number: str | None = None
    totals: Counter[str] = field(default_factory=Counter)
    waiting: list[Waiting] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    overtaken: int = 0

    def count(self, issued: Iterable[Issued]) -> None:
        """Add what a batch has issued. Numbers come in order."""
        for each in issued:
            self.corrections += each.draft.corrections
            if each.number is None:
                self.parked += 1
                continue
            self.finalized += 1
            self.first_number = self.first_number or each.number
            self.last_number = each.number
            self.totals[each.draft.total.currency] += each.draft.total.minor
