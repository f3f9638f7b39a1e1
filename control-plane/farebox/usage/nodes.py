"""Gateway nodes: how far each one's log was read, and how a person gives up on a dead one.

A billing period closes once no active node is behind its end plus grace. Who writes the reports is the
collector (`farebox_worker.collect`); this module reads them.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.usage.model import Node, UsageFile


class UnknownNodeError(LookupError):
    """No node has this name."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """A node as last reported. `read_to_end_at`: when (wall time) its collector last stood at the end of
    every live log file; what the node logged before that instant is counted. `last_error`: what keeps it from
    reading on, or None.
    """

    code: str
    state: str
    registered_at: datetime
    reported_at: datetime | None
    read_to_end_at: datetime | None
    retired_at: datetime | None
    retired_note: str | None
    last_error: str | None


async def nodes(session: AsyncSession) -> list[NodeReport]:
    """Return every node, by name."""
    rows = await session.scalars(select(Node).order_by(Node.code))
    return [
        NodeReport(
            row.code,
            row.state,
            row.registered_at,
            row.reported_at,
            row.read_to_end_at,
            row.retired_at,
            row.retired_note,
            row.last_error,
        )
        for row in rows
    ]


async def behind(session: AsyncSession, instant: datetime) -> list[str]:
    """Return the active nodes that have not stood at their log's end later than `instant` (wall time).

    Empty: whatever was logged up to `instant` is counted, except on retired nodes.
    """
    rows = await session.scalars(
        select(Node.code)
        .where(Node.state == "active", or_(Node.read_to_end_at.is_(None), Node.read_to_end_at <= instant))
        .order_by(Node.code)
    )
    return list(rows)


async def retire(session: AsyncSession, code: str, *, note: str, now: datetime) -> NodeReport:
    """Give up on a dead node, so that periods close without it; invoices name it and the note.

    Its files that were not read to their end are given up too. A collector that starts for this node makes
    it active again. Raises `UnknownNodeError`.
    """
    changed = await session.execute(
        update(Node)
        .where(Node.code == code, Node.state == "active")
        .values(state="retired", retired_at=now, retired_note=note)
        .returning(Node.code)
    )
    if changed.first() is None and await session.get(Node, code) is None:
        raise UnknownNodeError(f"there is no node {code!r}; `farebox node list` shows those there are")
    await session.execute(
        update(UsageFile)
        .where(UsageFile.node_code == code, UsageFile.state == "open")
        .values(state="ended", ended_at=now)
    )
    return next(report for report in await nodes(session) if report.code == code)
