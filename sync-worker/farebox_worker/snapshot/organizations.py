"""Organizations with their keys and subscriptions, as the translation wants them.

One statement reads the revision and the state of organizations together, from one snapshot of PostgreSQL:
no state is ever older than the revision that it is recorded under, which would lose a change.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import TextualSelect

from farebox.clock import ClockOffset, OrganizationTime
from farebox.subscriptions.own import COLUMNS, JOINS, JSON_COLUMNS, own_of
from farebox.subscriptions.terms import Own
from farebox_worker.translate import KeyFacts, OrganizationFacts, SubscriptionFacts

_ORGANIZATIONS: Final = f"""
    SELECT o.id, o.public_id, o.state, o.edge_revision,
           s.public_id AS subscription, s.time_zone, s.anchor_day, s.started_at, v.code AS group_code,
           s.state AS subscription_state, s.trial_ends_at, s.resumed_at,
           {COLUMNS},
           CASE WHEN COALESCE(lo.organization_id, sc.organization_id) IS NOT NULL OR pieces.list IS NOT NULL
                THEN jsonb_build_array(v.limits, v.quota, v.charges, v.currency) END AS plan_terms,
           (SELECT jsonb_agg(jsonb_build_array(k.public_id, k.environment, k.digest,
                                               extract(epoch FROM k.expires_at)::text, k.edge_revision,
                                               k.scopes, k.cidrs, k.origin = 'imported')
                             ORDER BY k.public_id)
            FROM api_keys k
            WHERE k.organization_id = o.id AND k.state = 'active'
              AND (k.expires_at IS NULL OR k.expires_at > :now)) AS keys,
           (SELECT jsonb_agg(k.digest ORDER BY k.digest) FROM api_keys k
            WHERE k.organization_id = o.id AND k.origin = 'imported'
              AND (k.state = 'active' OR k.revoked_at > CAST(:now AS timestamptz) - interval '1 day')
           ) AS imported,
           (SELECT jsonb_agg(jsonb_build_array(extract(epoch FROM c.began_at)::text, c.offset_ms)
                             ORDER BY c.began_at)
            FROM test_clock_offsets c WHERE c.organization_id = o.id) AS offsets
    FROM organizations o
    LEFT JOIN subscriptions s ON s.organization_id = o.id AND s.state <> 'ended'
    LEFT JOIN plan_versions v ON v.id = s.plan_version_id
    {JOINS}
    WHERE {{which}}
"""  # noqa: S608 - constants of the house


def _reading(which: str) -> TextualSelect:
    return text(_ORGANIZATIONS.format(which=which)).columns(
        keys=JSONB(),
        imported=JSONB(),
        offsets=JSONB(),
        plan_terms=JSONB(),
        **{name: JSONB() for name in JSON_COLUMNS},
    )


_BY_ID: Final = _reading("o.id = ANY(:wanted)")
_BY_NAME: Final = _reading("o.public_id = ANY(:wanted)")
_OPEN_AFTER: Final = text(
    "SELECT id, public_id FROM organizations WHERE id > :after AND state <> 'closed' ORDER BY id LIMIT :limit"
)
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


async def organizations(
    session: AsyncSession, ids: Sequence[UUID], *, now: datetime
) -> list[OrganizationFacts]:
    """Read organizations by their ids; those that do not exist are left out."""
    rows = await session.execute(_BY_ID, {"wanted": list(ids), "now": now})
    return [_organization(row) for row in rows]


async def organizations_named(
    session: AsyncSession, names: Sequence[str], *, now: datetime
) -> dict[str, OrganizationFacts]:
    """Read organizations by their public ids, which are the consumers' names."""
    rows = await session.execute(_BY_NAME, {"wanted": list(names), "now": now})
    return {row.public_id: _organization(row) for row in rows}


async def open_after(session: AsyncSession, after: UUID, *, limit: int) -> list[tuple[UUID, str]]:
    """Return the next organizations that are not closed, in the order of their ids, with their public ids."""
    rows = await session.execute(_OPEN_AFTER, {"after": after, "limit": limit})
    return [(row.id, row.public_id) for row in rows]


def _organization(row: Any) -> OrganizationFacts:
    subscription = None
    if row.subscription is not None:
        subscription = SubscriptionFacts(
            row.subscription,
            row.group_code,
            row.time_zone,
            row.anchor_day,
            row.started_at,
            row.subscription_state,
            row.trial_ends_at,
            row.resumed_at,
            _own(row),
        )
    return OrganizationFacts(
        row.id,
        row.public_id,
        row.state,
        row.edge_revision,
        OrganizationTime(
            tuple(
                ClockOffset(_instant(began_at), timedelta(milliseconds=offset))
                for began_at, offset in row.offsets or ()
            )
        ),
        subscription,
        tuple(
            KeyFacts(
                public_id,
                environment,
                digest,
                None if expires is None else _instant(expires),
                revision,
                None if scopes is None else tuple(scopes),
                None if cidrs is None else tuple(cidrs),
                imported,
            )
            for public_id, environment, digest, expires, revision, scopes, cidrs, imported in row.keys or ()
        ),
        tuple(row.imported or ()),
    )


def _own(row: Any) -> Own | None:
    """Read what goes over the plan's limits; None: nothing does."""
    if row.plan_terms is None:
        return None
    limits, quota, charges, currency = row.plan_terms
    columns = row._mapping  # noqa: SLF001 - the documented name of it
    return own_of(columns, limits=limits, quota=quota, charges=charges, currency=currency)


def _instant(seconds: str) -> datetime:
    """Read PostgreSQL's epoch text, exact to the microsecond, without going through a float."""
    whole, _, fraction = seconds.partition(".")
    return _EPOCH + timedelta(seconds=int(whole), microseconds=int(fraction[:6].ljust(6, "0") or 0))
