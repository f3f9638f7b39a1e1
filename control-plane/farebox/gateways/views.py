"""The operators' view of gateways: do they answer, and does each node enforce what was sold."""

from typing import Annotated, Any

from pydantic import Field

from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Instant, View
from farebox.gateways import health
from farebox.gateways.health import NodeHealth
from farebox.web import Answer

TAG = "Operators"


class DriftNode(View):
    """One node of a gateway."""

    code: str
    optional: Annotated[bool, Field(description="Shown, and never waited for.")]
    answered_at: Instant | None
    error: Annotated[str | None, Field(description="Why nothing is known of it now.")]
    error_since: Instant | None
    checked_at: Annotated[Instant | None, Field(description="When the report was made.")]
    drift_since: Annotated[Instant | None, Field(description="Since when it differs; null: it does not.")]
    differences: Annotated[int, Field(description="How many items differ.")]
    report: Annotated[
        dict[str, Any] | None,
        Field(description="The first differences, each with its cause and remedy; every worker's figures."),
    ]


class DriftGateway(View):
    """One gateway."""

    code: str
    answered_at: Annotated[Instant | None, Field(description="When its Admin API last answered.")]
    error: str | None
    error_since: Instant | None
    catalogue_error: Annotated[str | None, Field(description="Why plans and routes are not enforced.")]
    last_full_pass_at: Instant | None
    nodes: list[DriftNode]


class DriftView(View):
    """Every gateway with its nodes."""

    drifts: Annotated[bool, Field(description="Whether any node differs from what was sold.")]
    gateways: list[DriftGateway]


@endpoint(
    "GET", "/admin/drift", "Show what each gateway node enforces",
    tag=TAG, access=Access.OPERATOR, data=DriftView,
)  # fmt: skip
async def drift(call: Call) -> Answer[DriftView]:
    """Shows the last comparison of every node with what was sold, and how old it is."""
    gateways = [
        DriftGateway(
            code=each.code,
            answered_at=each.answered_at,
            error=each.error,
            error_since=each.error_since,
            catalogue_error=each.catalogue_error,
            last_full_pass_at=each.last_full_pass_at,
            nodes=[_node(node) for node in each.nodes],
        )
        for each in await health.read(call.session)
    ]
    drifts = any(node.drift_since is not None for each in gateways for node in each.nodes)
    message = "Some nodes differ from what was sold." if drifts else "No difference is known."
    return Answer(DriftView(drifts=drifts, gateways=gateways), message)


def _node(node: NodeHealth) -> DriftNode:
    return DriftNode(
        code=node.code,
        optional=node.optional,
        answered_at=node.answered_at,
        error=node.error,
        error_since=node.error_since,
        checked_at=node.drift_at,
        drift_since=node.drift_since,
        differences=node.differences,
        report=None if node.report is None else dict(node.report),
    )


ENDPOINTS: Endpoints = (drift,)
