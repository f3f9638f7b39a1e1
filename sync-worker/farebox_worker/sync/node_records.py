"""What the database remembers of gateways and nodes: when each answered, what was wrong, how it differed.

An error keeps the time at which it began, so that everybody sees how old it is.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from farebox_worker.sync.drift_report import Report
from farebox_worker.targets import Target

_ANSWERED: Final = text(
    "UPDATE gateways SET answered_at = now(), error = NULL, error_since = NULL WHERE id = :gateway"
)
_SILENT: Final = text(
    "UPDATE gateways SET error = :error, error_since = COALESCE(error_since, now()) WHERE id = :gateway"
)
_NODE: Final = text(
    """
    INSERT INTO gateway_nodes AS n (gateway_id, code, optional, answered_at, error, error_since,
                                    drift, drift_at, drift_since)
    VALUES (:gateway, :code, :optional, CASE WHEN CAST(:error AS text) IS NULL THEN now() END, :error,
            CASE WHEN CAST(:error AS text) IS NOT NULL THEN now() END,
            CASE WHEN :known THEN CAST(:report AS jsonb) END, CASE WHEN :known THEN now() END,
            CASE WHEN :drifts THEN now() END)
    ON CONFLICT (gateway_id, code) DO UPDATE SET
        optional = excluded.optional,
        answered_at = COALESCE(excluded.answered_at, n.answered_at),
        error = excluded.error,
        error_since = CASE WHEN excluded.error IS NOT NULL THEN COALESCE(n.error_since, now()) END,
        drift = COALESCE(excluded.drift, n.drift),
        drift_at = COALESCE(excluded.drift_at, n.drift_at),
        drift_since = CASE WHEN NOT :known THEN n.drift_since
                           WHEN :drifts THEN COALESCE(n.drift_since, now()) END
    """
).bindparams(bindparam("report", type_=JSONB))
_OTHERS: Final = text("DELETE FROM gateway_nodes WHERE gateway_id = :gateway AND code <> ALL(:codes)")
_STREAMS: Final = text("SELECT node, boot, worker, highest FROM usage_streams WHERE node = ANY(:nodes)")


async def answered(session: AsyncSession, gateway_id: UUID) -> None:
    """Note that the gateway's Admin API answers."""
    await session.execute(_ANSWERED, {"gateway": gateway_id})


async def silent(session: AsyncSession, gateway_id: UUID, error: str) -> None:
    """Note that it does not, and since when."""
    await session.execute(_SILENT, {"gateway": gateway_id, "error": error})


async def record(
    session: AsyncSession, gateway_id: UUID, target: Target, report: Report
) -> dict[str, object]:
    """Keep the report of each node; return them by the nodes' codes. Nodes that are no longer named go."""
    codes: Sequence[str] = [node.code for node in target.nodes]
    rows = await session.execute(_STREAMS, {"nodes": list(codes)})
    collected = {(row.node, row.boot, row.worker): row.highest for row in rows}
    documents: dict[str, object] = {}
    for node in target.nodes:
        found = report.nodes[node.code]
        document = found.document(report.checked_at, collected)
        documents[node.code] = document
        error = found.trouble if node.status_url is not None else "it has no status_url: it is not asked"
        known = found.error is None and bool(found.workers)
        await session.execute(
            _NODE,
            {
                "gateway": gateway_id,
                "code": node.code,
                "optional": node.optional,
                "error": error,
                "known": known,
                "drifts": found.drifts,
                "report": document,
            },
        )
    await session.execute(_OTHERS, {"gateway": gateway_id, "codes": list(codes)})
    return documents
