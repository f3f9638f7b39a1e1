"""What limits, quota, charges and entitlements hold for one organization: its plan's, or what goes over them.
Pure.

In this order: add-ons widen what the plan gives, an operator's override takes its place, and the customer's
spending cap makes the quota hard where it would be passed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farebox.alerts.caps import units_within
from farebox.invoices.pieces import Pieces, charges_of
from farebox.money import Money


@dataclass(frozen=True, slots=True)
class Piece:
    """`quantity` pieces of an add-on; `limits` stand in place of the plan's of the same name."""

    quantity: int
    quota_units: int
    limits: Sequence[Mapping[str, Any]] = ()
    version: str = ""
    charges: Sequence[Mapping[str, Any]] = ()
    entitlements: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Own:
    """Everything of an organization's own that bears on its limits, with its plan's for comparison."""

    plan_limits: Sequence[Mapping[str, Any]] = ()
    plan_quota: Mapping[str, Any] | None = None
    plan_charges: Sequence[Mapping[str, Any]] = ()
    plan_entitlements: Mapping[str, Any] = field(default_factory=dict)
    limits: Sequence[Mapping[str, Any]] | None = None
    quota: Mapping[str, Any] | None = None
    entitlements: Mapping[str, Any] = field(default_factory=dict)
    cap: Money | None = None
    pieces: Sequence[Piece] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What is allowed beside requests: true or false, a number, or a text; `source` is what says so: `plan`,
    an add-on's version, or `override`.
    """

    name: str
    value: bool | float | str
    source: str


def entitlements_of(own: Own) -> list[Entitlement]:
    """Return what holds, by name: the override's word over the newest add-on's over the plan's."""
    layers = [("plan", own.plan_entitlements), *((piece.version, piece.entitlements) for piece in own.pieces)]
    found: dict[str, Entitlement] = {}
    for source, layer in (*layers, ("override", own.entitlements)):
        found |= {name: Entitlement(name, value, source) for name, value in layer.items()}
    return [found[name] for name in sorted(found)]


def charges_of_a_full_period(own: Own) -> list[Mapping[str, Any]]:
    """Return the plan's charges and those of all pieces, for a period in which nothing changes."""
    pieces = (Pieces(each.version, each.charges, each.quantity, 1) for each in own.pieces)
    taken = {str(charge["code"]) for charge in own.plan_charges}
    return [*own.plan_charges, *charges_of(pieces, full_seconds=1, taken=taken)]


def limits_of(own: Own) -> list[Mapping[str, Any]]:
    """Return the short windows that hold."""
    if own.limits is not None:
        return list(own.limits)
    instead = {limit["name"]: limit for piece in own.pieces for limit in piece.limits}
    named = {limit["name"] for limit in own.plan_limits}
    kept = [instead.get(limit["name"], limit) for limit in own.plan_limits]
    return kept + [limit for name, limit in instead.items() if name not in named]


def quota_of(own: Own) -> Mapping[str, Any] | None:
    """Return the quota that holds; None: as much as is wanted."""
    quota = own.quota
    if quota is None and own.plan_quota is not None:
        added = sum(piece.quantity * piece.quota_units for piece in own.pieces)
        quota = {**own.plan_quota, "units": own.plan_quota["units"] + added}
    if own.cap is None:
        return quota
    within = units_within(charges_of_a_full_period(own), own.cap)
    if within is None:
        return quota
    if quota is not None and quota["kind"] == "hard" and quota["units"] <= within:
        return quota
    # The gateways know no quota of nothing: a cap below the base price lets one unit through.
    return {"units": max(1, within), "kind": "hard"}
