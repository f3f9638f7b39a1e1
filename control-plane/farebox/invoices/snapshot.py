"""What an invoice rests on, as plain JSON: everything that a later reader needs to derive it again. Pure.

Plans, clocks, tax rates and coupons go on living after the invoice; what it says follows from this alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from farebox import ids
from farebox.billing_details.parties import Seller
from farebox.invoices.proof import instant
from farebox.invoices.rating import ROUNDING, Discount, plain
from farebox.invoices.terms import Metered, Party
from farebox.money import MINOR_DIGITS
from farebox.subscriptions.periods import BUCKET_SECONDS
from farebox.taxes.levying import Levied
from farebox.usage.nodes import NodeReport
from farebox.usage.quantities import Count

SNAPSHOT_VERSION: Final = 2


def snapshot(
    party: Party,
    metered: Metered,
    changed: Sequence[Metered],
    discounts: Sequence[Discount],
    taxes: Sequence[Levied],
    seller: Seller,
    retired: Sequence[NodeReport],
    *,
    statement_digest: bytes,
) -> Mapping[str, Any]:
    """Return the snapshot of a period's invoice and of the earlier periods that it corrects."""
    term = metered.term
    return {
        "version": SNAPSHOT_VERSION,
        "issuer": seller.code,
        "seller": seller.shown(),
        "organization": {"id": f"org_{party.public_id}", "name": party.name},
        "buyer": {"legal_name": party.name} if party.buyer is None else party.buyer.shown(),
        "currency": term.currency,
        "minor_digits": MINOR_DIGITS[term.currency],
        "rounding": ROUNDING,
        "taxes": [
            {
                "kind": each.tax.kind,
                "name": each.tax.name,
                "country": each.tax.country,
                "region": each.tax.region,
                "rate": plain(each.tax.rate),
                "inclusive": each.tax.inclusive,
            }
            for each in taxes
        ],
        "test_clock": [
            {"began_at": instant(entry.began_at), "offset_ms": round(entry.offset.total_seconds() * 1000)}
            for entry in party.time.offsets
        ],
        "bucket_seconds": BUCKET_SECONDS,
        **_terms(metered, discounts),
        "corrections": [
            _terms(each, each.term.discounts)
            | {"billed_units": each.term.billed_units, "billed_meters": dict(each.term.billed_meters)}
            for each in changed
        ],
        "retired_nodes": [_retired(node) for node in retired],
        "statement_digest": statement_digest.hex(),
    }


def _terms(metered: Metered, discounts: Sequence[Discount]) -> dict[str, Any]:
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
            "kind": term.kind,
        },
        "quota_units": term.quota_units,
        "meters": list(term.meters),
        "measured": dict(metered.meters),
        "usage_corrections": list(metered.corrections),
        "discounts": [
            {
                "code": each.code,
                "name": each.name,
                "percent": None if each.percent is None else plain(each.percent),
                "amount_minor": None if each.amount is None else each.amount.minor,
            }
            for each in discounts
        ],
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
