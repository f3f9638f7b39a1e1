"""The verbs of credits: grant, burn for invoices, return, expire. Every movement is a dated entry.

Works in the tenant's transaction for granting and reading, in the worker's for the rest.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, problems
from farebox.credits.burning import Credit, Kind, burn
from farebox.credits.model import CreditEntry, CreditGrant
from farebox.money import Money
from farebox.problems import Refusal

# Grants of organizations that are about to be invoiced; locked, so that no two invoices burn one cent.
_LEFT: Final = (
    "SELECT id, organization_id, kind, currency, remaining_minor, expires_at, granted_at FROM credit_grants "
    "WHERE organization_id = ANY(:organizations) AND remaining_minor > 0 ORDER BY id"
)
_LEFT_NOW: Final = text(_LEFT)
_LEFT_LOCKED: Final = text(f"{_LEFT} FOR NO KEY UPDATE")
_BURNT: Final = text(
    """
    SELECT e.grant_id, -sum(e.amount_minor)::bigint AS minor FROM credit_entries e
    WHERE e.invoice_id = :invoice GROUP BY e.grant_id HAVING sum(e.amount_minor) < 0 ORDER BY e.grant_id
    """
)
_ONE: Final = text(
    "SELECT kind, remaining_minor FROM credit_grants WHERE id = :id AND organization_id = :organization"
)
MOST_GRANTS: Final = 500
# An expired grant waits for the periods that it may still pay: those that end by its expiry. What time it is
# for an organization, its test clock says.
_EXPIRE: Final = text(
    """
    INSERT INTO credit_entries (id, organization_id, grant_id, kind, amount_minor, at)
    SELECT uuidv7(), g.organization_id, g.id, 'expire', -g.remaining_minor, g.expires_at
    FROM credit_grants g
    WHERE g.remaining_minor > 0
      AND g.expires_at <= CAST(:now AS timestamptz) + interval '1 millisecond' * COALESCE(
          (SELECT o.offset_ms FROM test_clock_offsets o
           WHERE o.organization_id = g.organization_id AND o.began_at <= :now
           ORDER BY o.began_at DESC LIMIT 1), 0)
      AND NOT EXISTS (SELECT FROM billing_periods p WHERE p.organization_id = g.organization_id
                      AND p.state = 'open' AND p.ends_at <= g.expires_at)
      AND NOT EXISTS (SELECT FROM invoices i WHERE i.organization_id = g.organization_id
                      AND i.state = 'parked' AND i.period_end <= g.expires_at)
    """
)


@dataclass(frozen=True, slots=True)
class Owed:
    """An invoice that credits may pay: `minor` of `currency`, for a period that ended at `period_end`."""

    invoice: UUID
    organization: UUID
    currency: str
    minor: int
    period_end: datetime


async def grant(
    session: AsyncSession,
    organization_id: UUID,
    *,
    kind: Kind,
    amount: Money,
    expires_at: datetime | None,
    source: str,
    now: datetime,
) -> UUID:
    """Give credit; returns the grant's id. A balance never expires. Raises `ValueError` otherwise."""
    if amount.minor <= 0:
        raise ValueError(f"a grant is above zero, not {amount}")
    if expires_at is not None and (kind == "balance" or expires_at <= now):
        raise ValueError("a balance never expires, and other credit expires in the future")
    grant_id = ids.uuid7()
    await session.execute(
        insert(CreditGrant),
        {
            "id": grant_id,
            "organization_id": organization_id,
            "kind": kind,
            "currency": amount.currency,
            "amount_minor": amount.minor,
            "expires_at": expires_at,
            "source": source,
            "granted_at": now,
        },
    )
    await _enter(session, [_entry(organization_id, grant_id, "grant", amount.minor, None, now)])
    return grant_id


async def pay(session: AsyncSession, invoices: Sequence[Owed], *, now: datetime) -> dict[UUID, int]:
    """Burn credits for invoices, in the order given; returns what they paid of each, in minor units."""
    burnt = await _burnt(session, invoices, _LEFT_LOCKED)
    await _enter(
        session,
        [
            _entry(owed.organization, grant_id, "burn", -part, owed.invoice, now)
            for owed, grant_id, part in burnt
        ],
    )
    return _paid(burnt)


async def would_pay(session: AsyncSession, invoices: Sequence[Owed]) -> dict[UUID, int]:
    """Return what credits would pay of each invoice if they burnt now, in the order given. Burns nothing."""
    return _paid(await _burnt(session, invoices, _LEFT_NOW))


async def _burnt(
    session: AsyncSession, invoices: Sequence[Owed], left_now: TextClause
) -> list[tuple[Owed, UUID, int]]:
    organizations = {each.organization for each in invoices if each.minor > 0}
    if not organizations:
        return []
    rows = (await session.execute(left_now, {"organizations": list(organizations)})).all()
    left: defaultdict[tuple[UUID, str], dict[UUID, Credit]] = defaultdict(dict)
    for row in rows:
        left[row.organization_id, row.currency][row.id] = Credit(
            row.id, row.kind, row.remaining_minor, row.expires_at, row.granted_at
        )
    burnt: list[tuple[Owed, UUID, int]] = []
    for owed in invoices:
        mine = left.get((owed.organization, owed.currency), {})
        for grant_id, part in burn(mine.values(), owed.minor, period_end=owed.period_end):
            before = mine[grant_id]
            mine[grant_id] = replace(before, remaining_minor=before.remaining_minor - part)
            burnt.append((owed, grant_id, part))
    return burnt


def _paid(burnt: Iterable[tuple[Owed, UUID, int]]) -> dict[UUID, int]:
    paid: dict[UUID, int] = {}
    for owed, _, part in burnt:
        paid[owed.invoice] = paid.get(owed.invoice, 0) + part
    return paid


async def give_back(session: AsyncSession, organization_id: UUID, invoice_id: UUID, *, now: datetime) -> int:
    """Return to their grants what an invoice had burnt (it was voided); returns the minor units."""
    rows = (await session.execute(_BURNT, {"invoice": invoice_id})).all()
    await _enter(
        session,
        [_entry(organization_id, row.grant_id, "return", row.minor, invoice_id, now) for row in rows],
    )
    return sum(row.minor for row in rows)


async def take_back(session: AsyncSession, grant_id: UUID, minor: int, *, now: datetime) -> int:
    """Take up to `minor` off a grant whose payment went back; returns how much there was still to take.

    Not locked: should an invoice burn it in between, the database refuses the sum and the caller tries again.
    """
    found = await session.scalar(select(CreditGrant).where(CreditGrant.id == grant_id))
    part = min(minor, found.remaining_minor) if found is not None else 0
    if found is not None and part:
        await _enter(session, [_entry(found.organization_id, grant_id, "expire", -part, None, now)])
    return part


async def expire(session: AsyncSession, *, now: datetime) -> int:
    """Write off what is left of expired grants, dated at their expiry; returns how many. Worker's role.

    `now` is the wall's; an organization with a test clock lives in its own time.
    """
    return int((await session.execute(_EXPIRE, {"now": now})).rowcount)  # type: ignore[attr-defined]


async def write_off(session: AsyncSession, organization_id: UUID, grant_id: UUID, *, now: datetime) -> int:
    """Take what is left of a grant away at once; returns the minor units. Doing it twice is doing it once.

    A balance is the customer's own money and stays. Raises `Refusal` 404, and 409 for a balance.
    """
    row = (await session.execute(_ONE, {"id": grant_id, "organization": organization_id})).one_or_none()
    if row is None:
        raise Refusal(problems.NOT_FOUND)
    if row.kind == "balance":
        raise Refusal(problems.STILL_IN_USE, "A balance is the customer's own money; refund it instead.")
    if row.remaining_minor:
        entry = _entry(organization_id, grant_id, "expire", -row.remaining_minor, None, now)
        try:
            async with session.begin_nested():
                await _enter(session, [entry])
        except IntegrityError as error:
            # The database lets no grant fall below zero: an invoice burnt of it since it was read.
            raise Refusal(problems.STILL_IN_USE, "An invoice is just using it; ask again.") from error
    return int(row.remaining_minor)


async def grants(session: AsyncSession, organization_id: UUID) -> list[CreditGrant]:
    """Return the organization's grants, the newest first."""
    rows = await session.scalars(
        select(CreditGrant)
        .where(CreditGrant.organization_id == organization_id)
        .order_by(CreditGrant.granted_at.desc(), CreditGrant.id.desc())
        .limit(MOST_GRANTS)
        .execution_options(populate_existing=True)
    )
    return list(rows)


async def left(session: AsyncSession, organization_id: UUID) -> Mapping[str, int]:
    """Return what is left, in minor units by currency."""
    rows = await session.execute(
        select(CreditGrant.currency, CreditGrant.remaining_minor).where(
            CreditGrant.organization_id == organization_id, CreditGrant.remaining_minor > 0
        )
    )
    sums: defaultdict[str, int] = defaultdict(int)
    for currency, minor in rows:
        sums[currency] += minor
    return dict(sums)


async def _enter(session: AsyncSession, entries: Sequence[dict[str, Any]]) -> None:
    if entries:
        await session.execute(insert(CreditEntry), list(entries))


def _entry(
    organization: UUID, grant_id: UUID, kind: str, minor: int, invoice: UUID | None, at: datetime
) -> dict[str, Any]:
    return {
        "id": ids.uuid7(),
        "organization_id": organization,
        "grant_id": grant_id,
        "kind": kind,
        "amount_minor": minor,
        "invoice_id": invoice,
        "at": at,
    }
