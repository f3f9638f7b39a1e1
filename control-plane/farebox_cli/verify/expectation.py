"""The lines and taxes that an invoice should have, from its terms and from what was counted."""

from dataclasses import dataclass
from fractions import Fraction

from farebox_cli.verify import calendar, pricing, rating
from farebox_cli.verify.document import Proof, Terms
from farebox_cli.verify.pricing import Tax
from farebox_cli.verify.rating import Metered, Rated
from farebox_cli.verify.recount import Counted

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Expected:
    """A line that the invoice should have; `period` is set on corrections."""

    kind: str
    code: str
    quantity: Fraction
    minor: int
    period: str | None = None


def lines(terms: Terms, counted: Counted, currency: str, *, is_whole: bool) -> list[Expected]:
    """Return a period's lines: its own, or what it now comes to beside what was billed.

    Where the files do not hold the whole period, the invoice's own quantities are rated. Raises
    `UnratableError`, and `LookupError` or `ValueError` for terms that make no sense.
    """
    now = counted.meters if is_whole else {"units": terms.claimed_units} | dict(terms.claimed_meters)
    if not is_whole and "requests" not in now:
        now["requests"] = terms.claimed_requests
    if terms.billed_units is None:
        own = [
            Expected(each.kind, each.code, each.quantity, each.minor)
            for each in _priced(terms, now, currency)
        ]
        return own or [Expected("charge", "usage", Fraction(now["units"]), 0)]
    then = {"requests": 0} | dict(terms.billed_meters) | {"units": terms.billed_units}
    late = [
        Expected("correction", code, quantity, minor, terms.period_id)
        for code, quantity, minor in pricing.difference(
            _priced(terms, then, currency), _priced(terms, now, currency)
        )
    ]
    nothing = Fraction(now["units"] - terms.billed_units)
    return late or [Expected("correction", "usage", nothing, 0, terms.period_id)]


def taxes(proof: Proof, gross: int) -> list[int]:
    """Return what each tax that the invoice names comes to, of the sum of the lines."""
    named = [Tax(each.kind, each.name, rating.number(each.rate), each.inclusive) for each in proof.taxes]
    return pricing.levy(named, gross)


def included_tax(proof: Proof, derived: list[int]) -> list[Expected]:
    """Return the line that takes included taxes out of the prices, if there are any."""
    within = sum(minor for each, minor in zip(proof.taxes, derived, strict=True) if each.inclusive)
    return [Expected("included_tax", "included_tax", Fraction(1), -within)] if within else []


def _priced(terms: Terms, quantities: dict[str, int], currency: str) -> list[Rated]:
    if terms.kind != "regular":
        return []
    usage = {name: Metered(Fraction(value), quantities.get("requests")) for name, value in quantities.items()}
    begins, ends = calendar.full_period(terms.start, time_zone=terms.time_zone, anchor_day=terms.anchor_day)
    whole_seconds = (terms.end // _SECOND) - (terms.start // _SECOND)
    return pricing.price(
        terms.charges,
        usage,
        currency,
        time_share=Fraction(whole_seconds, (ends // _SECOND) - (begins // _SECOND)),
        quota=terms.quota_units,
        coupons=terms.coupons,
    )
