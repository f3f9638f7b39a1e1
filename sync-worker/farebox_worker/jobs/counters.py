"""Filling a new or flushed Redis with what billing periods have used so far, so that quotas hold again.

While the generation marker is missing no gateway trusts the counters; it is written last. The protocol is
`farebox_contract.counters`.
"""

import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.subscriptions.periods import BUCKET_SECONDS
from farebox.usage.quantities import Cell, Count, split_by_reason
from farebox_contract.billable import DEFAULT_RULE
from farebox_contract.counters import GENERATION_KEY, quota_expires_at, quota_key
from farebox_worker import snapshot, translate
from farebox_worker.jobs.outbox_row import Context
from farebox_worker.translate import OrganizationFacts, milliseconds

BATCH: Final = 500
_WITH_QUOTA: Final = text(
    """
    SELECT s.organization_id AS id FROM subscriptions s JOIN plan_versions v ON v.id = s.plan_version_id
    WHERE s.state <> 'ended' AND s.organization_id > :after
      AND (v.quota IS NOT NULL
           OR EXISTS (SELECT FROM limit_overrides l WHERE l.organization_id = s.organization_id)
           OR EXISTS (SELECT FROM spending_caps c WHERE c.organization_id = s.organization_id))
    ORDER BY s.organization_id LIMIT :limit
    """
)
_USED: Final = text(
    """
    SELECT t.sub, d.environment, d.outcome, d.status, sum(r.requests)::bigint AS requests,
           sum(r.units)::bigint AS units
    FROM unnest(CAST(:subs AS text[]), CAST(:starts AS bigint[])) AS t(sub, start)
    JOIN subscriptions s ON s.public_id = t.sub
    JOIN usage_dimensions d ON d.subscription_id = s.id
    JOIN usage_rollups r ON r.dimension_id = d.id AND r.bucket >= t.start
    GROUP BY t.sub, d.environment, d.outcome, d.status
    """
)
_FIRST: Final = UUID(int=0)
log = structlog.get_logger(__name__)


async def reseed_if_lost(context: Context, redis: Redis) -> bool:
    """Write every quota's used units and then the marker, if the marker is missing; tell whether it was."""
    if await redis.exists(GENERATION_KEY):
        return False
    after, seeded = _FIRST, 0
    while True:
        async with context.database.transaction() as session:
            rows = await session.execute(_WITH_QUOTA, {"after": after, "limit": BATCH})
            ids = [row.id for row in rows]
            now = context.clock.now()
            facts = await snapshot.organizations(session, ids, now=now) if ids else []
            used = await _used(session, facts, now=now)
        if not ids:
            break
        after = ids[-1]
        async with redis.pipeline(transaction=False) as pipe:
            for key, units, expires in used:
                pipe.set(key, units, pxat=expires)
            await pipe.execute()
        seeded += len(used)
    await redis.set(GENERATION_KEY, secrets.token_hex(8))
    log.info("counters_seeded", counters=seeded)
    return True


async def _used(
    session: AsyncSession, facts: Sequence[OrganizationFacts], *, now: datetime
) -> list[tuple[str, int, int]]:
    """Return key, billable units and expiry (Unix ms) of each current period that has been used."""
    starts: dict[str, int] = {}
    names: dict[str, tuple[str, int]] = {}
    for each in facts:
        if each.subscription is None:
            continue
        name = each.subscription.public_id
        here = translate.current_period(each.subscription, each.time, now=now)
        wall, _ = translate.periods(each.subscription, each.time, now=now)
        first = int(here.start.timestamp())
        starts[name] = first - first % BUCKET_SECONDS
        names[name] = quota_key(name, wall.start), quota_expires_at(wall.end, milliseconds(now))
    rows = await session.execute(_USED, {"subs": list(starts), "starts": list(starts.values())})
    cells: defaultdict[str, list[Cell]] = defaultdict(list)
    for row in rows:
        cells[row.sub].append(Cell(row.environment, row.outcome, row.status, Count(row.requests, row.units)))
    used = []
    for name, found in cells.items():
        key, expires = names[name]
        used.append((key, split_by_reason(found, rule=DEFAULT_RULE).billable.units, expires))
    return used
