"""`farebox-limit`: a plan's short windows and its quota, one decision for all of them.

All are checked, then all are taken: a refused request burns nothing. What a limit's counter is called holds
neither the limit's value nor the plan's version, so an edit of a plan goes on counting. The quota counts what
is billable: a request that is not (the upstream failed, say) gives its units back when it is logged, by the
same rule by which invoices are made.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from farebox_contract import counters, problems
from farebox_contract.billable import DEFAULT_RULE, RULES
from farebox_contract.plugins import LIMIT, LIMIT_ON_CONSUMER, LIMIT_ON_GROUP, LIMIT_ON_ROUTE
from farebox_gateway.edge.counters.base import Counters, CounterUnavailableError, Taken, Want
from farebox_gateway.edge.exchange import Exchange, Refusal
from farebox_gateway.edge.plugins.base import Decision, Place, Plugin
from farebox_gateway.edge.schema import CheckedSchema, InvalidError

QUOTA: Final = "quota"
_NOTE: Final = LIMIT
_is_billable = RULES[DEFAULT_RULE]


@dataclass(frozen=True, slots=True)
class Window:
    """At most `requests` in each window of `seconds`."""

    name: str
    requests: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan version grants, or what one organization has instead."""

    windows: tuple[Window, ...] | None
    quota: tuple[int, bool] | None
    """Units in a period, and whether more are refused."""
    when_unavailable: Literal["open", "closed"] = "open"
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
        names = [limit["name"] for limit in merged.get("limits", ())]
        if len(set(names)) != len(names):
            raise InvalidError('property "limits" validation failed: two limits have the same name')
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
        consumer, group = exchange.consumer, exchange.group
        if consumer is None:
            return None
        own: Terms | None = consumer.plugins.get(LIMIT)
        plan: Terms | None = None if group is None else group.plugins.get(LIMIT)
        if own is not None:
            exchange.subscription = own.subscription
        wants = _wants(exchange, consumer.name, own, plan)
        if not wants:
            return None
        fallback = "open" if plan is None else plan.when_unavailable
        try:
            taken = self._store.take(consumer.name, wants)
        except CounterUnavailableError:
            return _unavailable(exchange, fallback)
        if isinstance(taken, Taken):
            return _decide(exchange, wants, taken)
        return _wait(exchange, wants, taken, fallback)

    def log(self, exchange: Exchange, conf: Any) -> None:
        """Bring the quota to what is billable after all."""
        del conf
        want: Want | None = None if exchange.notes is None else exchange.notes.get(_NOTE)
        if want is None:
            return
        billable = _is_billable(exchange.environment, exchange.outcome, exchange.status).billable
        difference = (exchange.units if billable else 0) - want.units
        if difference:
            self._store.settle(want, difference)


def _wants(exchange: Exchange, organization: str, own: Terms | None, plan: Terms | None) -> list[Want]:
    now = exchange.started_ms
    windows = (plan.windows if plan is not None else None) or ()
    quota = plan.quota if plan is not None else None
    if own is not None:
        windows = windows if own.windows is None else own.windows
        quota = own.quota or quota
    wants = []
    for window in windows:
        start, ends = counters.window_bounds(now, window.seconds)
        slot = f"window:{organization}:{window.name}"
        key = counters.window_key(organization, window.name, start)
        wants.append(Want(window.name, slot, key, start, ends, window.requests, 1))
    if quota is not None and own is not None and own.subscription and exchange.environment != "test":
        units, hard = quota
        start, ends = _period(own.periods, now)
        key = counters.quota_key(own.subscription, start)
        wants.append(Want(QUOTA, key, key, start, ends, units if hard else None, exchange.units))
    return wants


def _period(periods: tuple[tuple[int, int], ...], now: int) -> tuple[int, int]:
    """Return the period of an instant: the last that has begun, and the first if none has.

    Past the end of the last known period that one goes on: the control plane being late must not refuse.
    """
    current = periods[0]
    for period in periods[1:]:
        if period[0] <= now:
            current = period
    return current


async def _wait(
    exchange: Exchange, wants: list[Want], taking: Awaitable[Taken], fallback: str
) -> Refusal | None:
    try:
        taken = await taking
    except CounterUnavailableError:
        return _unavailable(exchange, fallback)
    return _decide(exchange, wants, taken)


def _decide(exchange: Exchange, wants: list[Want], taken: Taken) -> Decision:
    now = exchange.started_ms
    if taken.refused is None:
        if wants[-1].name == QUOTA and wants[-1].key == wants[-1].slot:
            exchange.notes = {**(exchange.notes or {}), _NOTE: wants[-1]}
        _show(exchange, wants, taken, now)
        return None
    want = wants[taken.refused]
    used = taken.used[0]
    reset = -(-want.ends // 1000)
    retry = max(1, -(-(want.ends - now) // 1000))
    limit = want.limit or 0
    exchange.set_answer_header("Retry-After", str(retry))
    _show_one(exchange, limit, max(0, limit - used), reset)
    exchange.set_answer_header("RateLimit", f'"{want.name}";r={max(0, limit - used)};t={retry}')
    exchange.set_answer_header("RateLimit-Policy", _policy(wants))
    details = {"limit": want.name, "allowed": limit, "retry_after": retry, "reset": reset}
    if want.key == want.slot:
        return exchange.refuse(
            429,
            problems.QUOTA_EXCEEDED,
            f"The quota of {limit} units of this billing period is used up.",
            outcome="quota_exceeded",
            details=details,
        )
    return exchange.refuse(
        429,
        problems.RATE_LIMITED,
        f"The limit of {limit} requests ({want.name}) is reached. Try again in {retry} s.",
        outcome="rate_limited",
        details=details,
    )


def _unavailable(exchange: Exchange, fallback: str) -> Decision:
    if fallback == "open":
        return None
    exchange.set_answer_header("Retry-After", "1")
    return exchange.refuse(
        503, problems.LIMITS_UNAVAILABLE, "The limits of this plan cannot be checked now. Try again."
    )


def _show(exchange: Exchange, wants: list[Want], taken: Taken, now: int) -> None:
    """Show the limit that is nearest to its end."""
    nearest: Want | None = None
    left = 0
    for want, used in zip(wants, taken.used, strict=True):
        if want.limit is not None and (nearest is None or want.limit - used < left):
            nearest, left = want, want.limit - used
    if nearest is None or nearest.limit is None:
        return
    left = max(0, left)
    _show_one(exchange, nearest.limit, left, -(-nearest.ends // 1000))
    seconds = max(0, -(-(nearest.ends - now) // 1000))
    exchange.set_answer_header("RateLimit", f'"{nearest.name}";r={left};t={seconds}')
    exchange.set_answer_header("RateLimit-Policy", _policy(wants))


def _show_one(exchange: Exchange, limit: int, remaining: int, reset: int) -> None:
    exchange.set_answer_header("X-RateLimit-Limit", str(limit))
    exchange.set_answer_header("X-RateLimit-Remaining", str(remaining))
    exchange.set_answer_header("X-RateLimit-Reset", str(reset))


def _policy(wants: list[Want]) -> str:
    return ", ".join(
        f'"{want.name}";q={want.limit};w={(want.ends - want.start) // 1000}'
        for want in wants
        if want.limit is not None
    )
