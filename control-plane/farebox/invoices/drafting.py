"""What an invoice says: lines, taxes, sums and the snapshot, out of a period's quantities. Pure.

Earlier periods whose usage changed are billed here by difference: what they come to now, less what was billed
already, at the price and with the coupons of then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from farebox.billing_details.parties import Seller
from farebox.invoices.proof import instant
from farebox.invoices.rating import Discount, RatedLine, plain
from farebox.invoices.snapshot import snapshot
from farebox.invoices.terms import REGULAR, Metered, Party, Term, lines_of
from farebox.money import Money
from farebox.taxes.deciding import Rate, taxes_of
from farebox.taxes.levying import Levied, included, levy
from farebox.usage.nodes import NodeReport

__all__ = ["DEFAULT_TERMS_DAYS", "Draft", "Line", "Metered", "Party", "Term", "draft"]

DEFAULT_TERMS_DAYS: Final = 14
USAGE_CODE: Final = "usage"
"""The code of a line of zero that names units which nothing charges for."""
INCLUDED_TAX: Final = "included_tax"
_UNCHARGED: Final = {"trial": "Trial: nothing is charged", "paused": "Paused: nothing is charged"}


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
    """An invoice before it is written. `billed` are the new quantities billed, by meter, of every period it
    bills, `terms` those periods as they were read: its own first, then those it corrects. `used` are the
    redemptions that took something off.
    """

    party: Party
    terms: tuple[Term, ...]
    lines: tuple[Line, ...]
    subtotal: Money
    taxes: tuple[Levied, ...]
    tax: Money
    total: Money
    snapshot: Mapping[str, Any]
    billed: Mapping[UUID, Mapping[str, int]]
    used: tuple[UUID, ...] = ()
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
    seller: Seller,
    rates: Sequence[Rate] = (),
    retired: Sequence[NodeReport],
    statement_digest: bytes,
    used: Mapping[UUID, int] | None = None,
) -> Draft:
    """Draft the invoice of a period, with a correction for each of `earlier` whose usage has changed.

    `retired` are the nodes that were given up with lines of this period possibly unread; `used` how often
    drafts before this one took each redemption. Raises `ValueError` (`ChargeError`, `RatingError`,
    `CurrencyError`, `MixedTaxesError`) if the plan version cannot be rated.
    """
    term = metered.term
    changed = [each for each in earlier if each.changed]
    discounts, redemptions = _discounts(party, term, used or {})
    rated = lines_of(term, metered.meters, discounts)
    lines = [_line(each) for each in rated] or [_uncharged(metered)]
    for each in changed:
        if each.term.currency != term.currency:
            raise ValueError(f"cannot bill {each.term.currency} on an invoice in {term.currency}")
        lines += _correction_lines(each)
    buyer = party.buyer
    gross = _sum(lines, term.currency)
    taxes: tuple[Levied, ...] = ()
    if buyer is not None:
        due = taxes_of(rates, seller=seller.place, buyer=buyer.place, at=term.ends_at)
        taxes = levy(due, gross)
    within = included(taxes, term.currency)
    if within.minor:
        lines.append(_included_line(taxes, within))
    subtotal = gross + -within
    tax = sum((each.amount for each in taxes), Money(term.currency, 0))
    taken = {each.code for each in rated if each.kind == "discount"}
    return Draft(
        party=party,
        terms=(term, *(each.term for each in changed)),
        lines=tuple(lines),
        subtotal=subtotal,
        taxes=taxes,
        tax=tax,
        total=subtotal + tax,
        snapshot=snapshot(
            party, metered, changed, discounts, taxes, seller, retired, statement_digest=statement_digest
        ),
        billed={each.term.period_id: each.meters for each in (metered, *changed)},
        used=tuple(redemptions[code] for code in redemptions if code in taken),
        terms_days=DEFAULT_TERMS_DAYS if buyer is None or buyer.net_days is None else buyer.net_days,
        collection="automatic" if buyer is None else buyer.collection,
    )


def _discounts(
    party: Party, term: Term, used: Mapping[UUID, int]
) -> tuple[tuple[Discount, ...], Mapping[str, UUID]]:
    if term.kind != REGULAR:
        return (), {}
    here = [
        each
        for each in party.redemptions
        if each.holds(
            plan=term.plan_code, currency=term.currency, ends_at=term.ends_at, used=used.get(each.id, 0)
        )
    ]
    discounts = tuple(Discount(each.code, each.name, each.percent, each.amount) for each in here)
    return discounts, {each.code: each.id for each in here}


def _sum(lines: Iterable[Line], currency: str) -> Money:
    return sum((line.amount for line in lines), Money(currency, 0))


def _line(rated: RatedLine) -> Line:
    return Line(rated.code, rated.description, rated.quantity, rated.amount, rated.explain(), kind=rated.kind)


def _uncharged(metered: Metered) -> Line:
    units = Decimal(metered.meters["units"])
    detail = {"model": metered.term.kind, "units": plain(units), "exact": "0", "steps": []}
    text = _UNCHARGED.get(metered.term.kind, "Usage that the plan does not charge for")
    return Line(USAGE_CODE, text, units, Money(metered.term.currency, 0), detail)


def _included_line(taxes: Sequence[Levied], within: Money) -> Line:
    names = ", ".join(f"{each.tax.name} {plain(each.tax.rate)} %" for each in taxes)
    return Line(
        INCLUDED_TAX, f"Included in these prices: {names}", Decimal(1), -within, {}, kind="included_tax"
    )


def _correction_lines(metered: Metered) -> Iterable[Line]:
    """One line for each charge by usage and each other line that comes to something else now; if there is
    none, one of zero: every unit is on an invoice.
    """
    term, now, then = metered.term, metered.meters, metered.term.billed_meters
    detail = {
        "period": {"start": instant(term.starts_at), "end": instant(term.ends_at)},
        "subscription": f"sub_{term.subscription}",
        "billed_units": str(term.billed_units),
        "units": str(now["units"]),
    }
    stretch = _stretch(term)
    before = {(each.kind, each.code): each for each in lines_of(term, then, term.discounts)}
    after = {(each.kind, each.code): each for each in lines_of(term, now, term.discounts)}
    nothing = Money(term.currency, 0)
    made = False
    for key in dict.fromkeys((*after, *before)):
        old, new = before.get(key), after.get(key)
        shown = new or old
        if shown is None:
            continue
        was = nothing if old is None else old.amount
        comes = nothing if new is None else new.amount
        if not shown.by_usage and was == comes:
            continue
        made = True
        quantity = (Decimal(0) if new is None else new.quantity) - (
            Decimal(0) if old is None else old.quantity
        )
        yield Line(
            shown.code,
            f"Correction of {stretch}: {shown.description}",
            quantity,
            comes + -was,
            detail | {"of": shown.kind, "billed_minor": was.minor, "minor": comes.minor},
            term.period_id,
            "correction",
        )
    if not made:
        yield Line(
            USAGE_CODE,
            f"Correction of {stretch}: units that the plan does not charge for",
            Decimal(now["units"] - term.billed_units),
            nothing,
            detail | {"of": "charge", "billed_minor": 0, "minor": 0},
            term.period_id,
            "correction",
        )


def _stretch(term: Term) -> str:
    zone = ZoneInfo(term.time_zone)
    start, end = (edge.astimezone(zone).date().isoformat() for edge in (term.starts_at, term.ends_at))
    return f"{start} to {end}"
