"""What the invoices of open periods rest on: prices, quantities, buyers, coupons, add-ons.

The billing run reads here in the worker's role before it writes, and the current bill in the tenant's: both
draft from the same facts. Takes no lock and knows no statement of completeness.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.billing_details import service as billing_details
from farebox.billing_details.parties import Buyer
from farebox.clock import ClockOffset, OrganizationTime
from farebox.coupons import service as coupons
from farebox.coupons.service import Redemption
from farebox.invoices.pieces import Pieces, charges_of
from farebox.invoices.proof import instant
from farebox.invoices.rating import Discount
from farebox.invoices.terms import Metered, Party, Term
from farebox.money import Money
from farebox.organizations.model import TestClockOffset
from farebox.subscriptions.periods import period_containing
from farebox.usage.measuring import Correction, corrected, corrections_for_periods, measured_for_periods
from farebox.usage.meters import parse as parse_meters
from farebox.usage.quantities import Quantities
from farebox.usage.service import quantities_for_periods
from farebox_contract.billable import DEFAULT_RULE

# Of the periods invoiced before, only those whose usage may have changed since they were counted.
_TERMS: Final = text(
    """
    SELECT p.id AS period_id, p.organization_id, p.subscription_id, p.starts_at, p.ends_at, p.is_first,
           p.is_last, p.state, p.kind, p.billed_units, s.public_id AS subscription, s.time_zone, s.anchor_day,
           v.code AS plan, plans.code AS plan_code, v.currency, v.charges, v.meters, v.quota,
           o.public_id, o.name,
           COALESCE(i.snapshot ->> 'billable_rule', :rule) AS rule, i.snapshot -> 'discounts' AS discounts,
           t.billed, COALESCE(t.touches, 0) AS touches, COALESCE(c.entered, 0) AS corrections,
           a.pieces
    FROM billing_periods p
    JOIN subscriptions s ON s.id = p.subscription_id
    JOIN plan_versions v ON v.id = s.plan_version_id
    JOIN plans ON plans.id = v.plan_id
    JOIN organizations o ON o.id = p.organization_id
    LEFT JOIN period_tallies t ON t.period_id = p.id
    LEFT JOIN LATERAL (
        SELECT count(*)::int AS entered FROM usage_corrections WHERE period_id = p.id
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object(
                   'version', av.code, 'charges', av.charges, 'quantity', sa.quantity,
                   'seconds', floor(extract(epoch FROM LEAST(sa.to_at, p.ends_at)))
                            - floor(extract(epoch FROM GREATEST(sa.from_at, p.starts_at))))
                   ORDER BY sa.from_at, sa.id) AS pieces
        FROM subscription_add_ons sa JOIN add_on_versions av ON av.id = sa.add_on_version_id
        WHERE sa.subscription_id = p.subscription_id AND av.currency = v.currency
          AND sa.from_at < p.ends_at AND (sa.to_at IS NULL OR sa.to_at > p.starts_at)
    ) a ON true
    LEFT JOIN invoices i ON p.state = 'invoiced' AND i.subscription_id = p.subscription_id
                        AND i.period_start = p.starts_at AND i.kind = 'period'
    WHERE p.organization_id = ANY(:organizations)
      AND (p.id = ANY(:periods)
           OR p.state = 'invoiced' AND (t.touches > t.counted OR c.entered > t.corrections))
    ORDER BY p.organization_id, p.ends_at, p.starts_at, p.id
    """
)


@dataclass(frozen=True, slots=True)
class Case:
    """An organization's part of a batch: the periods to close, oldest first, and those invoiced before."""

    party: Party
    closing: tuple[Metered, ...]
    earlier: tuple[Metered, ...]


@dataclass(frozen=True, slots=True)
class _Parties:
    times: Mapping[UUID, OrganizationTime]
    buyers: Mapping[UUID, Buyer]
    redemptions: Mapping[UUID, tuple[Redemption, ...]]


async def time_lines(
    session: AsyncSession, organizations: Iterable[UUID] | None = None
) -> dict[UUID, OrganizationTime]:
    """Return the time line of each organization (None: of all) that has a test clock."""
    wanted = select(TestClockOffset).order_by(TestClockOffset.organization_id, TestClockOffset.began_at)
    if organizations is not None:
        wanted = wanted.where(TestClockOffset.organization_id.in_(list(organizations)))
    rows = await session.scalars(wanted)
    return {
        organization: OrganizationTime(
            tuple(ClockOffset(row.began_at, timedelta(milliseconds=row.offset_ms)) for row in group)
        )
        for organization, group in groupby(rows, key=lambda row: row.organization_id)
    }


async def cases(
    session: AsyncSession, organizations: Sequence[UUID], periods: Sequence[UUID]
) -> tuple[Case, ...]:
    """Read what invoices of `periods`, all of them of `organizations`, rest on."""
    parties = _Parties(
        await time_lines(session, organizations),
        await billing_details.buyers(session, organizations),
        await coupons.held(session, organizations),
    )
    values = {"organizations": list(organizations), "periods": list(periods), "rule": DEFAULT_RULE}
    rows = (await session.execute(_TERMS, values)).all()
    return _cases(rows, await _metered(session, rows), parties)


async def _metered(session: AsyncSession, rows: Sequence[Any]) -> dict[UUID, Metered]:
    quantities = await _quantities(session, rows)
    with_corrections = [row.period_id for row in rows if row.corrections]
    entered = await corrections_for_periods(session, with_corrections) if with_corrections else {}
    metering = [row.period_id for row in rows if row.meters or row.period_id in entered]
    measured = await measured_for_periods(session, metering) if metering else {}
    found: dict[UUID, Metered] = {}
    for row in rows:
        entries = entered.get(row.period_id, ())
        meters = (
            corrected(parse_meters(row.meters), measured[row.period_id], entries)
            if row.period_id in measured
            else {}
        )
        found[row.period_id] = Metered(
            _term(row), quantities[row.period_id], meters, tuple(_correction(each) for each in entries)
        )
    return found


def _correction(entry: Correction) -> Mapping[str, Any]:
    return {
        "meter": entry.meter,
        "quantity": entry.quantity,
        "at": instant(entry.at),
        "reason": entry.reason,
        "actor": entry.actor,
    }


async def _quantities(session: AsyncSession, rows: Sequence[Any]) -> dict[UUID, Quantities]:
    by_rule: defaultdict[str, list[UUID]] = defaultdict(list)
    for row in rows:
        by_rule[row.rule].append(row.period_id)
    quantities: dict[UUID, Quantities] = {}
    for rule, period_ids in by_rule.items():
        quantities |= await quantities_for_periods(session, period_ids, rule=rule)
    return quantities


def _cases(rows: Sequence[Any], metered: Mapping[UUID, Metered], parties: _Parties) -> tuple[Case, ...]:
    cases = []
    for organization, group in groupby(rows, key=lambda row: row.organization_id):
        members = list(group)
        party = Party(
            organization,
            members[0].public_id,
            members[0].name,
            parties.times.get(organization, OrganizationTime()),
            parties.buyers.get(organization),
            parties.redemptions.get(organization, ()),
        )
        open_, invoiced = (
            tuple(metered[row.period_id] for row in members if (row.state == "invoiced") is is_invoiced)
            for is_invoiced in (False, True)
        )
        cases.append(Case(party, open_, invoiced))
    return tuple(cases)


def _term(row: Any) -> Term:
    return Term(
        period_id=row.period_id,
        subscription_id=row.subscription_id,
        subscription=row.subscription,
        plan=row.plan,
        currency=row.currency,
        charges=_charges(row),
        time_zone=row.time_zone,
        anchor_day=row.anchor_day,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        is_first=row.is_first,
        is_last=row.is_last,
        billed_units=row.billed_units,
        invoiced=row.state == "invoiced",
        plan_code=row.plan_code,
        kind=row.kind,
        quota_units=None if row.quota is None else int(row.quota["units"]),
        meters=row.meters,
        billed=row.billed or {},
        discounts=tuple(_discount(entry, row.currency) for entry in row.discounts or ()),
        touches=row.touches,
        corrections=row.corrections,
    )


def _charges(row: Any) -> list[Any]:
    """Return the plan's charges and those of the add-ons that the subscription had in the period."""
    if not row.pieces:
        return list(row.charges)
    full = period_containing(row.starts_at, time_zone=row.time_zone, anchor_day=row.anchor_day)
    pieces = [
        Pieces(each["version"], each["charges"], each["quantity"], int(each["seconds"]))
        for each in row.pieces
    ]
    seconds = int(full.end.timestamp() // 1) - int(full.start.timestamp() // 1)
    return [
        *row.charges,
        *charges_of(pieces, full_seconds=seconds, taken={charge["code"] for charge in row.charges}),
    ]


def _discount(entry: Mapping[str, Any], currency: str) -> Discount:
    """Read a discount of an earlier invoice from its snapshot."""
    percent, minor = entry["percent"], entry["amount_minor"]
    return Discount(
        entry["code"],
        entry["name"],
        None if percent is None else Decimal(percent),
        None if minor is None else Money(currency, minor),
    )
