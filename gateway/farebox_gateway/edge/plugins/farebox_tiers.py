"""What callers without a key may do on a route: polite ones with a contact, and anonymous ones.

An anonymous caller is counted by address. A polite one is counted by contact, and what all contacts of one
address use together is bounded by the same numbers: inventing contacts gains nothing. Counters are each
route's own. This module knows limits and nothing of keys.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp.hdrs import USER_AGENT

from farebox_contract import counters
from farebox_contract.tiers import Tier, address_name, contact, contact_name
from farebox_gateway.edge.counters.base import Counters, Want
from farebox_gateway.edge.exchange import Exchange
from farebox_gateway.edge.plugins.base import Decision
from farebox_gateway.edge.plugins.farebox_terms import Prepared, WhenUnavailable, Window, take

BY_ADDRESS: Final = "-address"
"""What is added to a limit's name where it is the address's share that is shown."""


@dataclass(frozen=True, slots=True)
class OneTier:
    """What one kind of caller gets."""

    windows: tuple[Window, ...]
    when_unavailable: WhenUnavailable


@dataclass(frozen=True, slots=True)
class Tiers:
    """Which callers without a key a route lets in."""

    anonymous: OneTier | None = None
    polite: OneTier | None = None

    def of(self, exchange: Exchange) -> tuple[Tier, str] | None:
        """Return tier and contact (empty: none) of a request without a key, or None if it is not let in."""
        if self.polite is not None:
            agent = exchange.request.headers.get(USER_AGENT, "")
            found = contact(agent.encode("utf-8", "surrogateescape"))
            if found is not None:
                return "polite", found
        return None if self.anonymous is None else ("anonymous", "")


def compile_tiers(conf: dict[str, Any]) -> Tiers:
    """Make tiers of a route's configuration."""
    return Tiers(*(_one(conf.get(name)) for name in ("anonymous", "polite")))


def _one(conf: dict[str, Any] | None) -> OneTier | None:
    if conf is None:
        return None
    windows = tuple(Window(one["name"], one["requests"], one["window"]) for one in conf["limits"])
    return OneTier(windows, conf.get("without_counter", "open"))


def take_tier(store: Counters, exchange: Exchange, tiers: Tiers) -> Decision | Awaitable[Decision]:
    """Take one request of every window of the caller's tier, or refuse."""
    tier = tiers.anonymous if exchange.tier == "anonymous" else tiers.polite
    route = "" if exchange.route is None else exchange.route.id
    address = address_name(exchange.remote)
    if tier is None:
        return None
    who = {f"{exchange.tier}:{address}": ""}
    if exchange.tier == "polite":
        who = {f"contact:{contact_name(exchange.contact)}": "", f"polite:{address}": BY_ADDRESS}
    now = exchange.started_ms
    wants = [
        _want(route, one, window.name + suffix, window, now)
        for window in tier.windows
        for one, suffix in who.items()
    ]
    owner = f"{route}:{exchange.tier}:{address}"
    return take(store, owner, exchange, Prepared(wants, now), tier.when_unavailable)


def _want(route: str, who: str, shown: str, window: Window, now: int) -> Want:
    start, ends = counters.window_bounds(now, window.seconds)
    key = counters.tier_window_key(route, who, window.name, start)
    return Want(shown, f"tier:{route}:{window.name}:{who}", key, start, ends, window.requests, 1)
