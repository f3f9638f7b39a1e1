"""The names of the counters in Redis, and how a flushed Redis is filled again by a worker.

A counter holds the units that have been handed out to gateway nodes: used, or leased to a node that will use
them or bring them back. Nothing is allowed past a limit, because a node spends only what it was handed.

Seeding. `farebox:counters:generation` says that the counters are whole. While it is missing (a new or a
flushed Redis) every node treats the store as unavailable and each plan's `without_counter` decides. A worker
then, for each subscription with a current period, writes the period's billable units so far with
`SET quota_key(subscription, start) units PXAT quota_expires_at(end, now)` and only after the last of them
`SET farebox:counters:generation <random>`. To force a reseed it deletes the marker first. Nodes void the
leases of an older generation within a second of the change; what they still spend meanwhile, at most one
lease a counter and node, is the bound by which a limit can be passed at a reseed. Short windows are not
seeded: they end by themselves.

All keys lie in one Redis; a cluster would need them in one slot and is not supported.
"""

from typing import Final

GENERATION_KEY: Final = "farebox:counters:generation"
QUOTA_KEPT_MS: Final = 7 * 24 * 3600 * 1000
"""A quota's counter outlives its period, because the last known period is used until the next is known."""
WINDOW_KEPT_MS: Final = 5_000
LARGEST_SLICE: Final = 512
SLICES: Final = 16
"""A slice is at most this part of what is left of a counter, and at most `LARGEST_SLICE` units."""


def window_key(organization: str, limit_name: str, start_ms: int) -> str:
    """Name the counter of a short window. Neither the limit's value nor the plan's version is part of it."""
    return f"farebox:window:{organization}:{limit_name}:{start_ms}"


def tier_window_key(route: str, who: str, limit_name: str, start_ms: int) -> str:
    """Name the counter of a short window of callers without a key, on one route.

    `who` is `anonymous:{address}`, or of a polite caller `contact:{contact}` and `polite:{address}`, named as
    `farebox_contract.tiers` does.
    """
    return f"farebox:tier:{route}:{limit_name}:{start_ms}:{who}"


def quota_key(subscription: str, period_start_ms: int) -> str:
    """Name the counter of a billing period's units; the key holds a decimal integer."""
    return f"farebox:quota:{subscription}:{period_start_ms}"


def quota_expires_at(period_end_ms: int, now_ms: int) -> int:
    """Return when a quota's counter may go, Unix milliseconds."""
    return max(period_end_ms, now_ms) + QUOTA_KEPT_MS


def window_bounds(now_ms: int, window_seconds: int) -> tuple[int, int]:
    """Return start and end (excluded) of the window that holds `now_ms`, aligned to the Unix epoch."""
    length = window_seconds * 1000
    start = now_ms - now_ms % length
    return start, start + length


def largest_slice(limit: int) -> int:
    """Return the most units of a counter that Redis hands a node at once beyond what a request needs."""
    return min(LARGEST_SLICE, limit // SLICES)


def early_refusals(limit: int, nodes: int, largest_request: int = 1) -> int:
    """Return by how many units at most a node refuses early, because `nodes` - 1 others hold unspent slices.

    E(L, N, u) = (N - 1) · max(min(512, ⌊L/16⌋), u - 1) + u - 1: each other node may hold what is left of one
    slice, and a request of u units is refused as a whole. What lies idle is back after the lease's seconds.
    """
    spare = largest_request - 1
    return (nodes - 1) * max(largest_slice(limit), spare) + spare


def units_past_a_reseed(limit: int, nodes: int) -> int:
    """Return by how many units at most a limit is passed because its counters were seeded anew under load.

    R(L, N) = N · min(512, ⌊L/16⌋): until a node sees the new generation, half a second at most, it spends the
    lease it held. In between, and without a reseed, the bound is 0: a node spends only what it was handed.
    """
    return nodes * largest_slice(limit)
