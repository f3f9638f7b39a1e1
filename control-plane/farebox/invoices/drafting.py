"""What an invoice says: lines, sums and the snapshot, out of a period's quantities. Pure.

Everything that a later reader needs to derive the invoice again goes into the snapshot, because plans, clocks
and time zones go on living after it. Earlier periods whose lines came late are billed here by difference:
what their units come to now, less what was billed already, at the price in force then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from farebox import ids
from farebox.clock import OrganizationTime
from farebox.invoices import charges as language
from farebox.invoices.proof import instant
from farebox.invoices.rating import ROUNDING, RatedLine, counts_units, rate
from farebox.money import MINOR_DIGITS, Money
from farebox.subscriptions.periods import BUCKET_SECONDS
from farebox.taxes.levying import Levied
from farebox.usage.nodes import NodeReport
from farebox.usage.quantities import Count, Quantities

SNAPSHOT_VERSION: Final = 1
DEFAULT_TERMS_DAYS: Final = 14
USAGE_CODE: Final = "usage"
"""The code of a correction line where the plan charges nothing by the unit."""


@dataclass(frozen=True, slots=True)
class Party:
    """The organization that is billed."""

    id: UUID
    public_id: str
    name: str
    time: OrganizationTime


@dataclass(frozen=True, slots=True)
class Term:
    """One billing period with the price that holds in it. `billed_units` is what invoices billed of it."""

    period_id: UUID
    subscription_id: UUID
    subscription: str
    plan: str
    currency: str
    charges: Sequence[Any]
    time_zone: str
    anchor_day: int
    starts_at: datetime
    ends_at: datetime
    is_first: bool
    is_last: bool
    billed_units: int
    invoiced: bool


@dataclass(frozen=True, slots=True)
class Metered:
    """A period with what was counted in it."""

    term: Term
    quantities: Quantities


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a draft; `of_period` is set on corrections."""

    code: str
    description: str
    quantity: Decimal
    amount: Money
    detail: Mapping[str, Any]
    of_period: UUID | None = None
    kind: str = "charge"


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice before it is written. `billed` are the new `billed_units` of every period it bills, `terms`
    those periods as they were read: its own first, then those it corrects.
    """

    party: Party
    terms: tuple[Term, ...]
    lines: tuple[Line, ...]
    subtotal: Money
    taxes: tuple[Levied, ...]
    tax: Money
    total: Money
    snapshot: Mapping[str, Any]
    billed: Mapping[UUID, int]
    terms_days: int = DEFAULT_TERMS_DAYS
    collection: str = "automatic"

    @property
    def term(self) -> Term:
        """The period that is invoiced."""
        return self.terms[0]

    @property
    def corrections(self) -> int:
        """How many lines correct an earlier period."""
        return sum(line.of_period is not None for line in self.lines)


def draft(
    party: Party,
    metered: Metered,
    earlier: Iterable[Metered],
    *,
    issuer: str,
    retired: Sequence[NodeReport],
    statement_digest: bytes,
) -> Draft:
    """Draft the invoice of a period, with a correction for each of `earlier` whose units have changed.

    `retired` are the nodes that were given up with lines of this period possibly unread. Raises `ValueError`
    (`ChargeError`, `RatingError`, `CurrencyError`) if the plan version cannot be rated.
    """
    term = metered.term
    changed = [each for each in earlier if each.quantities.billable.units != each.term.billed_units]
    lines = [_charge_line(rated) for rated in _rate(term, metered.quantities.billable.units)]
    for each in changed:
        if each.term.currency != term.currency:
            raise ValueError(f"cannot bill {each.term.currency} on an invoice in {term.currency}")
        lines += _correction_lines(each)
    total = sum((line.amount for line in lines), Money(term.currency, 0))
    billed = {each.term.period_id: each.quantities.billable.units for each in (metered, *changed)}
    snapshot = {
        "version": SNAPSHOT_VERSION,
        "issuer": issuer,
        "organization": {"id": f"org_{party.public_id}", "name": party.name},
        "currency": term.currency,
        "minor_digits": MINOR_DIGITS[term.currency],
        "rounding": ROUNDING,
        "tax": {"kind": "none"},
        "test_clock": [
            {"began_at": instant(entry.began_at), "offset_ms": round(entry.offset.total_seconds() * 1000)}
            for entry in party.time.offsets
        ],
        "bucket_seconds": BUCKET_SECONDS,
        **_terms(metered),
        "corrections": [_terms(each) | {"billed_units": each.term.billed_units} for each in changed],
        "retired_nodes": [_retired(node) for node in retired],
        "statement_digest": statement_digest.hex(),
    }
    terms = (term, *(each.term for each in changed))
    return Draft(party, terms, tuple(lines), total, (), Money(term.currency, 0), total, snapshot, billed)


def _rate(term: Term, units: int) -> tuple[RatedLine, ...]:
    return rate(language.parse(list(term.charges)), units, term.currency)


def _charge_line(rated: RatedLine) -> Line:
    return Line(rated.code, rated.description, rated.quantity, rated.amount, rated.explain())


def _correction_lines(metered: Metered) -> Iterable[Line]:
    """One line for each charge by the unit; if there is none, one of zero: every unit is on an invoice."""
    term, now = metered.term, metered.quantities.billable.units
    detail = {
        "period": {"start": instant(term.starts_at), "end": instant(term.ends_at)},
        "subscription": f"sub_{term.subscription}",
        "billed_units": str(term.billed_units),
        "units": str(now),
    }
    stretch = _stretch(term)
    by_unit = [
        (before, after)
        for charge, before, after in zip(
            language.parse(list(term.charges)),
            _rate(term, term.billed_units),
            _rate(term, now),
            strict=True,
        )
        if counts_units(charge)
    ]
    for before, after in by_unit:
        yield Line(
            after.code,
            f"Correction of {stretch}: {after.description}",
            after.quantity - before.quantity,
            after.amount + -before.amount,
            detail | {"billed_minor": before.amount.minor, "minor": after.amount.minor},
            term.period_id,
            "correction",
        )
    if not by_unit:
        yield Line(
            USAGE_CODE,
            f"Correction of {stretch}: units that the plan does not charge for",
            Decimal(now - term.billed_units),
            Money(term.currency, 0),
            detail | {"billed_minor": 0, "minor": 0},
            term.period_id,
            "correction",
        )


def _terms(metered: Metered) -> dict[str, Any]:
    term, quantities = metered.term, metered.quantities
    return {
        "subscription": f"sub_{term.subscription}",
        "plan": term.plan,
        "charges": list(term.charges),
        "time_zone": term.time_zone,
        "anchor_day": term.anchor_day,
        "period": {
            "id": ids.encode("per", term.period_id),
            "start": instant(term.starts_at),
            "end": instant(term.ends_at),
            "is_first": term.is_first,
            "is_last": term.is_last,
        },
        "billable_rule": quantities.rule,
        "metered": _count(quantities.total),
        "billable": _count(quantities.billable),
        "excluded": {reason: _count(count) for reason, count in quantities.excluded.items()},
    }


def _count(count: Count) -> dict[str, int]:
    return {"requests": count.requests, "units": count.units}


def _retired(node: NodeReport) -> dict[str, Any]:
    return {
        "node": node.code,
        "retired_at": None if node.retired_at is None else instant(node.retired_at),
        "read_to_end_at": None if node.read_to_end_at is None else instant(node.read_to_end_at),
        "note": node.retired_note,
    }


def _stretch(term: Term) -> str:
    zone = ZoneInfo(term.time_zone)
    start, end = (edge.astimezone(zone).date().isoformat() for edge in (term.starts_at, term.ends_at))
    return f"{start} to {end}"
