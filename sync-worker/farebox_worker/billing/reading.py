"""What a batch of invoices needs, read at one moment: the cases, the nodes, taxes, the statement.

One transaction of repeatable read, so that the statement names exactly the lines that the quantities count.
It takes no lock; what has changed by the time of writing is noticed there and left to the next run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.billing_details import service as billing_details
from farebox.billing_details.parties import Seller
from farebox.db import Database
from farebox.invoices import reading
from farebox.invoices.reading import Case
from farebox.subscriptions.periods import BUCKET_SECONDS
from farebox.taxes.deciding import Rate
from farebox.taxes.service import rates
from farebox.usage.nodes import NodeReport
from farebox.usage.service import completeness, nodes

# Only a first period reaches back before its start and only a last one past its end. The least and the
# greatest bucket of a dimension are two look-ups in the key of the rollups.
_REACH: Final = text(
    """
    SELECT p.id, min(reach.first) AS first, max(reach.last) AS last
    FROM billing_periods p
    JOIN usage_dimensions d ON d.subscription_id = p.subscription_id
    CROSS JOIN LATERAL (
        SELECT min(bucket) AS first, max(bucket) AS last FROM usage_rollups WHERE dimension_id = d.id
    ) reach
    WHERE p.id = ANY(:periods) AND reach.first IS NOT NULL
    GROUP BY p.id
    """
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that a batch of invoices needs. `statement` is plain JSON."""

    cases: tuple[Case, ...]
    nodes: tuple[NodeReport, ...]
    statement: dict[str, Any]
    seller: Seller
    rates: tuple[Rate, ...]


async def read(
    database: Database, organizations: Sequence[UUID], periods: Sequence[UUID], *, issuer: str, now: datetime
) -> Batch:
    """Read the batch that closes `periods`, all of them of `organizations`."""
    async with database.transaction() as session:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        reports = await nodes(session)
        cases = await reading.cases(session, organizations, periods)
        since, until = await _window(session, cases)
        statement = await completeness(session, since=since, until=until, now=now)
        seller = await billing_details.seller(session, issuer)
        taxed = any(case.party.buyer is not None for case in cases)
        in_force = await rates(session) if taxed else []
    return Batch(cases, tuple(reports), statement, seller, tuple(in_force))


async def _window(session: AsyncSession, cases: Sequence[Case]) -> tuple[datetime | None, datetime | None]:
    """Return the stretch of wall time in which the batch's lines can lie: of what is closed or corrected."""
    named = [
        (case.party.time, metered.term)
        for case in cases
        for metered in (*case.closing, *(each for each in case.earlier if each.changed))
    ]
    if not named:
        return None, None
    open_ended = [term.period_id for _, term in named if term.is_first or term.is_last]
    reach = {row.id: row for row in await session.execute(_REACH, {"periods": open_ended})}
    starts, ends = [], []
    for time, term in named:
        start, end = term.starts_at, term.ends_at
        if term.period_id in reach:
            first, last = reach[term.period_id].first, reach[term.period_id].last
            start = min(start, _instant(first)) if term.is_first else start
            end = max(end, _instant(last + BUCKET_SECONDS)) if term.is_last else end
        starts.append(time.wall(start))
        ends.append(time.wall(end))
    return min(starts), max(ends)


def _instant(bucket: int) -> datetime:
    return datetime.fromtimestamp(bucket, UTC)
