"""An organization's open periods, drafted in their order. Pure.

Corrections of earlier periods go on the first invoice in their currency, and a coupon that one invoice uses
up is not there for the next: so a period's invoice follows from those before it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from farebox.billing_details.parties import Seller
from farebox.invoices.drafting import Draft, draft
from farebox.invoices.reading import Case
from farebox.invoices.terms import Metered, Term
from farebox.taxes.deciding import Rate
from farebox.usage.nodes import NodeReport


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft with its period and the earlier ones that were counted again for it, changed or not."""

    draft: Draft
    own: Metered
    earlier: tuple[Metered, ...]

    @property
    def read(self) -> tuple[Metered, ...]:
        """Every period that was counted."""
        return (self.own, *self.earlier)


def draft_in_turn(
    case: Case,
    *,
    seller: Seller,
    rates: Sequence[Rate],
    retired: Callable[[Term], Sequence[NodeReport]],
    statement_digest: bytes,
) -> list[Drafted]:
    """Draft every period of the case that is to be closed. `retired` says which nodes were given up with
    lines of a period possibly unread. Raises as `draft` does.
    """
    drafts: list[Drafted] = []
    counted: set[UUID] = set()
    used: Counter[UUID] = Counter()
    for metered in case.closing:
        earlier = [
            each
            for each in case.earlier
            if each.term.period_id not in counted and each.term.currency == metered.term.currency
        ]
        made = draft(
            case.party,
            metered,
            earlier,
            seller=seller,
            rates=rates,
            retired=retired(metered.term),
            statement_digest=statement_digest,
            used=used,
        )
        used.update(made.used)
        counted |= {each.term.period_id for each in earlier}
        drafts.append(Drafted(made, metered, tuple(earlier)))
    return drafts
