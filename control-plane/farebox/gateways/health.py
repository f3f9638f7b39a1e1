"""Whether gateways and their nodes answer, and how far they drift, as the worker last saw it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.gateways.model import Gateway, GatewayNode, GatewayOrganization


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """One node. `error_since` and `drift_since` say how old what is wrong is; `report` is the last one."""

    code: str
    optional: bool
    answered_at: datetime | None
    error: str | None
    error_since: datetime | None
    drift_at: datetime | None
    drift_since: datetime | None
    report: Mapping[str, Any] | None

    @property
    def differences(self) -> int:
        """How many items the last report names or counts."""
        if self.report is None:
            return 0
        return int(sum(self.report.get("drift", {}).values())) + int(self.report.get("unconfirmed", 0))


@dataclass(frozen=True, slots=True)
class GatewayHealth:
    """One gateway with its nodes."""

    code: str
    answered_at: datetime | None
    error: str | None
    error_since: datetime | None
    catalogue_error: str | None
    last_full_pass_at: datetime | None
    nodes: Sequence[NodeHealth]


async def read(session: AsyncSession) -> list[GatewayHealth]:
    """Return every gateway by its code. Nodes are shown to operators and to the worker alone."""
    gateways = (await session.scalars(select(Gateway).order_by(Gateway.code))).all()
    nodes = (await session.scalars(select(GatewayNode).order_by(GatewayNode.code))).all()
    return [
        GatewayHealth(
            each.code,
            each.answered_at,
            each.error,
            each.error_since,
            each.catalogue_error,
            each.last_full_pass_at,
            [_node(node) for node in nodes if node.gateway_id == each.id],
        )
        for each in gateways
    ]


async def forget(session: AsyncSession, code: str) -> bool:
    """Forget a gateway and how far it had got; tell whether there was one. Needs the worker's role."""
    found = await session.scalar(select(Gateway).where(Gateway.code == code))
    if found is None:
        return False
    await session.execute(delete(GatewayOrganization).where(GatewayOrganization.gateway_id == found.id))
    await session.delete(found)
    await session.flush()
    return True


def _node(node: GatewayNode) -> NodeHealth:
    return NodeHealth(
        node.code,
        node.optional,
        node.answered_at,
        node.error,
        node.error_since,
        node.drift_at,
        node.drift_since,
        node.drift,
    )
