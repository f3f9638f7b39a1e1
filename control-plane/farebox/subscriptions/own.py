"""Reading what an organization has of its own beside its plan, by one SQL for all readers.

The gateways' snapshot, the current bill and the alerts join these columns to their own statements, so that
they cannot come to know different limits. What follows from it is in `farebox.subscriptions.terms`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from farebox.money import Money
from farebox.subscriptions.terms import Own, Piece

COLUMNS: Final = """
    lo.limits AS own_limits, lo.quota AS own_quota, lo.entitlements AS own_entitlements,
    sc.amount_minor AS cap, sc.currency AS cap_currency, pieces.list AS pieces
"""
JOINS: Final = """
    LEFT JOIN limit_overrides lo ON lo.organization_id = s.organization_id
    LEFT JOIN spending_caps sc ON sc.organization_id = s.organization_id
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_array(a.quantity, av.quota_units, av.limits, av.code, av.charges,
                                           av.entitlements)
                         ORDER BY a.from_at, a.id) AS list
        FROM subscription_add_ons a JOIN add_on_versions av ON av.id = a.add_on_version_id
        WHERE a.subscription_id = s.id AND a.to_at IS NULL AND av.currency = v.currency
    ) pieces ON true
"""
"""Joined to a statement in which `s` is the running subscription and `v` its plan version."""
JSON_COLUMNS: Final = ("own_limits", "own_quota", "own_entitlements", "pieces")


def own_of(
    row: Mapping[Any, Any],
    *,
    limits: Sequence[Mapping[str, Any]],
    quota: Mapping[str, Any] | None,
    charges: Sequence[Mapping[str, Any]],
    currency: str,
    entitlements: Mapping[str, Any] | None = None,
) -> Own:
    """Read `COLUMNS` beside the plan's terms; a cap in another currency than the plan's holds nothing."""
    cap = None
    if row["cap"] is not None and row["cap_currency"] == currency:
        cap = Money(currency, row["cap"])
    return Own(
        plan_limits=limits,
        plan_quota=quota,
        plan_charges=charges,
        plan_entitlements=entitlements or {},
        limits=row["own_limits"],
        quota=row["own_quota"],
        entitlements=row["own_entitlements"] or {},
        cap=cap,
        pieces=tuple(Piece(*each) for each in row["pieces"] or ()),
    )
