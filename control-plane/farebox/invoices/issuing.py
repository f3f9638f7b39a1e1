"""Issuing: drafts become rows, and finalized invoices get their number, their credits and their due date.

Needs the worker's role. Everything happens in the caller's transaction: a rollback takes numbers, burnt
credits and the work that follows back with it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, outbox, problems
from farebox.credits import service as credits_
from farebox.invoices import numbers, states
from farebox.invoices.drafting import DEFAULT_TERMS_DAYS, Draft
from farebox.invoices.model import Invoice, InvoiceLine, InvoiceTax
from farebox.invoices.states import Bounds
from farebox.money import Money
from farebox.problems import Refusal

PAYMENT_TERM: Final = timedelta(days=DEFAULT_TERMS_DAYS)
"""From issue to due unless the buyer's profile says otherwise. Where nothing is open nothing is due."""

_FINAL: Final = text(
    "SELECT id, organization_id, currency, total_minor, period_end FROM invoices WHERE id = ANY(:ids)"
)
_FINALIZE: Final = text(
    """
    UPDATE invoices i
    SET state = CASE WHEN i.total_minor > 0 AND t.credits = i.total_minor THEN 'paid' ELSE 'finalized' END,
        paid_at = CASE WHEN i.total_minor > 0 AND t.credits = i.total_minor
                       THEN CAST(:now AS timestamptz) END,
        number = t.number, finalized_at = :now, credits_minor = t.credits,
        due_at = CASE WHEN i.total_minor > t.credits
                      THEN CAST(:now AS timestamptz) + make_interval(days => i.terms_days) END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS text[]), CAST(:credits AS bigint[]))
         AS t(id, number, credits)
    WHERE i.id = t.id
    """
)
_ANNOUNCE: Final = text(
    "INSERT INTO outbox (job, organization_id, payload) "
    "SELECT :job, t.organization, jsonb_build_object('invoice', t.invoice) "
    "FROM unnest(CAST(:organizations AS uuid[]), CAST(:invoices AS text[])) AS t(organization, invoice)"
)
_TODAY: Final = text(
    "SELECT organization_id, sum(abs(total_minor))::bigint AS minor FROM invoices "
    "WHERE organization_id = ANY(:organizations) AND created_at > :since AND state <> 'parked' "
    "GROUP BY organization_id"
)


@dataclass(frozen=True, slots=True)
class Issued:
    """What became of a draft: its id, its state, and its number unless it was parked."""

    id: UUID
    draft: Draft
    state: states.State
    number: str | None


async def issue(
    session: AsyncSession,
    drafts: Sequence[Draft],
    *,
    issuer: str,
    statement_id: UUID,
    bounds: Bounds,
    now: datetime,
) -> list[Issued]:
    """Write the drafts and finalize each, but park those beyond a safety bound.

    The unique key on subscription, period start and kind refuses a second invoice (`IntegrityError`).
    """
    if not drafts:
        return []
    planned = await _planned(session, drafts, bounds, now)
    await session.execute(
        insert(Invoice),
        [
            _invoice_row(invoice_id, each, issuer, statement_id, state, now)
            for invoice_id, each, state in planned
        ],
    )
    lines = [row for invoice_id, each, _ in planned for row in _line_rows(invoice_id, each)]
    if lines:
        await session.execute(insert(InvoiceLine), lines)
    taxes = [row for invoice_id, each, _ in planned for row in _tax_rows(invoice_id, each)]
    if taxes:
        await session.execute(insert(InvoiceTax), taxes)
    final = [invoice_id for invoice_id, _, state in planned if state == "finalized"]
    numbered = await _finalize(session, final, issuer=issuer, now=now)
    return [Issued(invoice_id, each, state, numbered.get(invoice_id)) for invoice_id, each, state in planned]


async def finalize(session: AsyncSession, invoice_id: UUID, *, now: datetime) -> str:
    """Finalize a parked invoice that a person has looked at; returns its number.

    Raises `TransitionError` if it is final already, `Refusal` if there is none.
    """
    row = (
        await session.execute(
            select(Invoice.state, Invoice.issuer).where(Invoice.id == invoice_id).with_for_update()
        )
    ).first()
    if row is None:
        raise Refusal(problems.NOT_FOUND, log=f"no invoice {invoice_id}")
    states.after(states.FINALIZE, row.state)
    return (await _finalize(session, [invoice_id], issuer=row.issuer, now=now))[invoice_id]


async def _planned(
    session: AsyncSession, drafts: Sequence[Draft], bounds: Bounds, now: datetime
) -> list[tuple[UUID, Draft, states.State]]:
    organizations = list({each.party.id for each in drafts})
    rows = await session.execute(_TODAY, {"organizations": organizations, "since": now - timedelta(days=1)})
    today: Counter[UUID] = Counter({row.organization_id: row.minor for row in rows})
    planned: list[tuple[UUID, Draft, states.State]] = []
    # Sorted, so that the ids of one millisecond follow the drafts' order too.
    for invoice_id, each in zip(sorted(ids.uuid7() for _ in drafts), drafts, strict=True):
        state = states.first_state(
            each.total.minor, lines=len(each.lines), today_minor=today[each.party.id], bounds=bounds
        )
        if state == "finalized":
            today[each.party.id] += abs(each.total.minor)
        planned.append((invoice_id, each, state))
    return planned


async def _finalize(
    session: AsyncSession, invoice_ids: Sequence[UUID], *, issuer: str, now: datetime
) -> dict[UUID, str]:
    """Number the invoices in the order given, burn credits for them, and write the work that follows."""
    if not invoice_ids:
        return {}
    found = {row.id: row for row in await session.execute(_FINAL, {"ids": list(invoice_ids)})}
    rows = [found[each] for each in invoice_ids]
    burnt = await credits_.pay(
        session,
        [
            credits_.Owed(row.id, row.organization_id, row.currency, row.total_minor, row.period_end)
            for row in rows
        ],
        now=now,
    )
    taken = await numbers.take(session, issuer, len(rows))
    await session.execute(
        _FINALIZE,
        {
            "now": now,
            "ids": list(invoice_ids),
            "numbers": taken,
            "credits": [burnt.get(row.id, 0) for row in rows],
        },
    )
    for row in rows:
        if row.total_minor < 0:
            await credits_.grant(
                session,
                row.organization_id,
                kind="balance",
                amount=Money(row.currency, -row.total_minor),
                expires_at=None,
                source=f"invoice {ids.encode('inv', row.id)}",
                now=now,
            )
    told = [row for row in rows if row.total_minor != 0]
    if told:
        await session.execute(
            _ANNOUNCE,
            {
                "job": outbox.INVOICE_ISSUED.name,
                "organizations": [row.organization_id for row in told],
                "invoices": [ids.encode("inv", row.id) for row in told],
            },
        )
    return dict(zip(invoice_ids, taken, strict=True))


def _invoice_row(
    invoice_id: UUID, each: Draft, issuer: str, statement_id: UUID, state: states.State, now: datetime
) -> dict[str, Any]:
    return {
        "id": invoice_id,
        "organization_id": each.party.id,
        "subscription_id": each.term.subscription_id,
        "period_id": each.term.period_id,
        "state": "draft" if state == "finalized" else state,
        "issuer": issuer,
        "currency": each.total.currency,
        "period_start": each.term.starts_at,
        "period_end": each.term.ends_at,
        "subtotal_minor": each.subtotal.minor,
        "tax_minor": each.tax.minor,
        "total_minor": each.total.minor,
        "terms_days": each.terms_days,
        "collection": each.collection,
        "snapshot": dict(each.snapshot),
        "statement_id": statement_id,
        "created_at": now,
    }


def _line_rows(invoice_id: UUID, each: Draft) -> list[dict[str, Any]]:
    return [
        {
            "id": ids.uuid7(),
            "organization_id": each.party.id,
            "invoice_id": invoice_id,
            "position": position,
            "kind": line.kind,
            "charge_code": line.code,
            "description": line.description,
            "quantity": line.quantity,
            "amount_minor": line.amount.minor,
            "detail": dict(line.detail),
            "of_period_id": line.of_period,
        }
        for position, line in enumerate(each.lines, start=1)
    ]


def _tax_rows(invoice_id: UUID, each: Draft) -> list[dict[str, Any]]:
    return [
        {
            "id": ids.uuid7(),
            "organization_id": each.party.id,
            "invoice_id": invoice_id,
            "position": position,
            "kind": levied.tax.kind,
            "name": levied.tax.name,
            "country": levied.tax.country,
            "region": levied.tax.region,
            "rate": levied.tax.rate,
            "inclusive": levied.tax.inclusive,
            "base_minor": levied.base.minor,
            "amount_minor": levied.amount.minor,
        }
        for position, levied in enumerate(each.taxes, start=1)
    ]
