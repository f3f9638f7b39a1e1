"""When a period may be closed: once everything that was logged in it has been read. Pure.

Each active node must have stood at the end of its log later than the period's end (in wall time) plus the
grace. A retired node holds nothing up; the invoice names it if lines of the period may be missing with it.
Where no node was ever registered nothing is closed: nobody has read any log, and silence is no evidence of no
usage. Whoever meters elsewhere registers a node by running `farebox collect` once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from farebox.clock import OrganizationTime
from farebox.usage.nodes import NodeReport

Reason = Literal["no_node", "node_behind", "not_ended"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Why a period waits, or None: it can be closed. `nodes` are those that are behind."""

    reason: Reason | None = None
    nodes: tuple[str, ...] = ()


def readiness(
    ends_at: datetime,
    time: OrganizationTime,
    nodes: Sequence[NodeReport],
    *,
    now: datetime,
    until: datetime | None,
    grace: timedelta,
) -> Readiness:
    """Judge a period by its end. `ends_at` and `until` are in the organization's time, `now` in the wall's.

    `until` closes only what has ended by then.
    """
    present = time.at(now)
    if ends_at > (present if until is None else min(present, until)):
        return Readiness("not_ended")
    if not nodes:
        return Readiness("no_node")
    settled = time.wall(ends_at) + grace
    behind = tuple(
        node.code
        for node in nodes
        if node.state == "active" and (node.read_to_end_at is None or node.read_to_end_at <= settled)
    )
    return Readiness("node_behind", behind) if behind else Readiness()


def given_up(
    starts_at: datetime,
    ends_at: datetime,
    time: OrganizationTime,
    nodes: Sequence[NodeReport],
    *,
    grace: timedelta,
) -> list[NodeReport]:
    """Return the retired nodes that may have logged in the period what nobody has read."""
    begins, settled = time.wall(starts_at), time.wall(ends_at) + grace
    return [
        node
        for node in nodes
        if node.state == "retired"
        and (node.retired_at is None or node.retired_at >= begins)
        and (node.read_to_end_at is None or node.read_to_end_at <= settled)
    ]
