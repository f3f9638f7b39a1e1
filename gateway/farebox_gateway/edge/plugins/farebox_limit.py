"""`farebox-limit`: a plan's short windows and its quota, one decision for all of them.

All are checked, then all are taken: a refused request burns nothing. What a limit's counter is called holds
neither the limit's value nor the plan's version, so an edit of a plan goes on counting. The quota counts what
is billable: a request that is not (the upstream failed, say) gives its units back when it is logged, by the
same rule by which invoices are made.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from farebox_contract import counters
from farebox_contract.billable import RULES
from farebox_contract.plugins import LIMIT, LIMIT_ON_CONSUMER, LIMIT_ON_GROUP, LIMIT_ON_ROUTE
from farebox_gateway.edge.counters.base import Counters, Want
from farebox_gateway.edge.exchange import Exchange
from farebox_gateway.edge.plugins.base import Decision, Place, Plugin
from farebox_gateway.edge.plugins.farebox_terms import QUOTA, Prepared, WhenUnavailable, Window, take
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

if TYPE_CHECKING:
    from farebox_gateway.edge.accounts import Consumer, Group

_MOST_PREPARED: Final = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan version grants, or what one organization has instead."""

    windows: tuple[Window, ...] | None
    quota: tuple[int, bool] | None
    """Units in a period, and whether more are refused."""
    when_unavailable: WhenUnavailable = "open"
    subscription: str | None = None
    periods: tuple[tuple[int, int], ...] = ()


class FareboxLimit(Plugin):
    """See the module."""

    name: ClassVar = LIMIT
    priority: ClassVar = 1002
    reads_consumer: ClassVar = True
    schemas: ClassVar = {
        "route": CheckedSchema(LIMIT_ON_ROUTE),
        "consumer_group": CheckedSchema(LIMIT_ON_GROUP),
        "consumer": CheckedSchema(LIMIT_ON_CONSUMER),
    }

    def __init__(self, store: Counters) -> None:
        self._store = store

    def check(self, place: Place, conf: Any) -> dict[str, Any]:
        """Also refuse two limits of one name, which would share a counter, and periods without length."""
        merged = super().check(place, conf)
        check_limits(merged)
        if any(period["start"] >= period["end"] for period in merged.get("periods", ())):
            raise InvalidError('property "periods" validation failed: a period must end after it starts')
        return merged

    def compile(self, place: Place, conf: dict[str, Any]) -> Any:
        """Make terms of a group's or a consumer's configuration."""
        if place == "route":
            return conf
        limits, quota = conf.get("limits"), conf.get("quota")
        return Terms(
            windows=None
            if limits is None
            else tuple(Window(one["name"], one["requests"], one["window"]) for one in limits),
            quota=None if quota is None else (quota["units"], quota["kind"] == "hard"),
            when_unavailable=conf.get("without_counter", "open"),
            subscription=conf.get("subscription"),
            periods=tuple(sorted((one["start"], one["end"]) for one in conf.get("periods", ()))),
        )

    def access(self, exchange: Exchange, conf: Any) -> Decision | Awaitable[Decision]:
        """Take one request of every window and its units of the quota, or refuse."""
        del conf
        consumer = exchange.consumer
        if consumer is None:
            return None
        deal = consumer.memo
        if not isinstance(deal, _Deal) or deal.group is not exchange.group:
            deal = consumer.memo = _Deal(consumer, exchange.group)
        exchange.subscription = deal.subscription
        prepared = deal.prepared(exchange)
        return take(self._store, consumer.name, exchange, prepared, deal.fallback)

    def log(self, exchange: Exchange, conf: Any) -> None:
        """Bring the quota to what is billable after all."""
        del conf
        want = exchange.quota
        if want is None:
            return
        billable = RULES[exchange.rule](exchange.environment, exchange.outcome, exchange.status).billable
        difference = (exchange.units if billable else 0) - want.units
        if difference:
            self._store.settle(want, difference)


def check_limits(conf: dict[str, Any]) -> None:
    """Refuse two limits of one name. Raises `InvalidError`."""
    names = [limit["name"] for limit in conf.get("limits", ())]
    if len(set(names)) != len(names):
        raise InvalidError('property "limits" validation failed: two limits have the same name')


class _Deal:
    """A group's terms and a consumer's own, merged; made once for each pair of the two and kept."""

    __slots__ = ("_prepared", "fallback", "group", "periods", "quota", "subscription", "windows")

    def __init__(self, consumer: "Consumer", group: "Group | None") -> None:
        own: Terms | None = consumer.plugins.get(LIMIT)
        plan: Terms | None = None if group is None else group.plugins.get(LIMIT)
        own_windows = None if own is None else own.windows
        windows = own_windows if own_windows is not None else (None if plan is None else plan.windows)
        self.group = group
        self.subscription = None if own is None else own.subscription
        self.fallback: WhenUnavailable = "open" if plan is None else plan.when_unavailable
        self.windows = tuple((consumer.name, one) for one in windows or ())
        quota = (own.quota if own is not None else None) or (plan.quota if plan is not None else None)
        self.periods = () if own is None or not own.subscription else own.periods
        self.quota = quota if self.periods else None
        self._prepared: dict[tuple[int, bool], Prepared] = {}

    def prepared(self, exchange: Exchange) -> Prepared:
        """Return what a request takes: the windows in the plan's order, then the quota."""
        now, kind = exchange.started_ms, (exchange.units, exchange.environment == "test")
        prepared = self._prepared.get(kind)
        if prepared is None or not prepared.since <= now < prepared.until:
            if len(self._prepared) > _MOST_PREPARED:
                self._prepared.clear()
            prepared = self._prepared[kind] = self._prepare(now, exchange.units, test=kind[1])
        return prepared

    def _prepare(self, now: int, units: int, *, test: bool) -> Prepared:
        wants = []
        for organization, window in self.windows:
            start, ends = counters.window_bounds(now, window.seconds)
            slot = f"window:{organization}:{window.name}"
            key = counters.window_key(organization, window.name, start)
            wants.append(Want(window.name, slot, key, start, ends, window.requests, 1))
        if self.quota is not None and not test:
            granted, hard = self.quota
            start, ends = _period(self.periods, now)
            key = counters.quota_key(self.subscription or "", start)
            wants.append(Want(QUOTA, key, key, start, ends, granted if hard else None, units))
        return Prepared(wants, now)


def _period(periods: tuple[tuple[int, int], ...], now: int) -> tuple[int, int]:
    """Return the period of an instant: the last that has begun, and the first if none has.

    Past the end of the last known period that one goes on: the control plane being late must not refuse.
    """
    current = periods[0]
    for period in periods[1:]:
        if period[0] <= now:
            current = period
    return current
