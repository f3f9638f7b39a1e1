"""How a limit is taken, refused and shown, the same for an account's plan and for callers without a key.

It knows counters and headers, and neither plans nor tiers: who made the list of wants is not its business.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from farebox_contract import problems
from farebox_gateway.edge.counters.base import Counters, CounterUnavailableError, Taken, Want
from farebox_gateway.edge.exchange import Exchange, Refusal
from farebox_gateway.edge.plugins.base import Decision

QUOTA: Final = "quota"
WhenUnavailable = Literal["open", "closed"]


@dataclass(frozen=True, slots=True)
class Window:
    """At most `requests` in each window of `seconds`."""

    name: str
    requests: int
    seconds: int


class Prepared:
    """What requests of one kind take until the next window or period begins, and the headers for it."""

    __slots__ = ("_lines", "_policy", "quota", "since", "until", "wants")

    def __init__(self, wants: Sequence[Want], now: int) -> None:
        self.wants = wants
        self.since = max((want.start for want in wants), default=0)
        # A quota's period that is over goes on, but a next one may have begun: look again every second.
        self.until = min((want.ends if want.ends > now else now + 1000 for want in wants), default=now + 1000)
        if self.since > now:
            self.since = 0
        self.quota = wants[-1] if wants and _is_quota(wants[-1]) else None
        self._policy = ", ".join(
            f'"{want.name}";q={want.limit};w={(want.ends - want.start) // 1000}'
            for want in wants
            if want.limit is not None
        )
        self._lines = [self._fixed(want) for want in wants]

    def _fixed(self, want: Want) -> bytes:
        reset = -(-want.ends // 1000)
        return (
            f"X-RateLimit-Limit: {want.limit}\r\nX-RateLimit-Reset: {reset}\r\n"
            f'RateLimit-Policy: {self._policy}\r\nRateLimit: "{want.name}"'
        ).encode()

    def lines(self, index: int, left: int, now: int) -> bytes:
        """Return the header lines that show one limit: the refused one, or the one nearest to its end."""
        seconds = -(-(self.wants[index].ends - now) // 1000)
        return b"%b;r=%d;t=%d\r\nX-RateLimit-Remaining: %d\r\n" % (
            self._lines[index],
            left,
            max(0, seconds),
            left,
        )


def take(
    store: Counters, owner: str, exchange: Exchange, prepared: Prepared, fallback: WhenUnavailable
) -> Decision | Awaitable[Decision]:
    """Take all that is wanted or refuse; `fallback` is what holds while the counters cannot be asked."""
    if not prepared.wants:
        return None
    try:
        taken = store.take(owner, prepared.wants)
    except CounterUnavailableError:
        return _unavailable(exchange, fallback)
    if isinstance(taken, Taken):
        return _decide(exchange, prepared, taken)
    return _wait(exchange, fallback, prepared, taken)


def _is_quota(want: Want) -> bool:
    return want.key == want.slot


async def _wait(
    exchange: Exchange, fallback: WhenUnavailable, prepared: Prepared, taking: Awaitable[Taken]
) -> Decision:
    try:
        taken = await taking
    except CounterUnavailableError:
        return _unavailable(exchange, fallback)
    return _decide(exchange, prepared, taken)


def _decide(exchange: Exchange, prepared: Prepared, taken: Taken) -> Decision:
    if taken.refused is not None:
        return _refuse(exchange, prepared, taken.refused, taken.used[0])
    exchange.quota = prepared.quota
    nearest, left = -1, 0
    for index, want in enumerate(prepared.wants):
        if want.limit is not None:
            rest = want.limit - taken.used[index]
            if nearest < 0 or rest < left:
                nearest, left = index, rest
    if nearest >= 0:
        exchange.limit_lines = prepared.lines(nearest, max(0, left), exchange.started_ms)
    return None


def _refuse(exchange: Exchange, prepared: Prepared, index: int, used: int) -> Refusal:
    want = prepared.wants[index]
    limit = want.limit or 0
    retry = max(1, -(-(want.ends - exchange.started_ms) // 1000))
    exchange.limit_lines = prepared.lines(index, max(0, limit - used), exchange.started_ms)
    exchange.answer_headers[b"retry-after"] = (b"Retry-After", b"%d" % retry)
    details = {
        "limit": want.name,
        "allowed": limit,
        "retry_after": retry,
        "reset": -(-want.ends // 1000),
    }
    if _is_quota(want):
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


def _unavailable(exchange: Exchange, fallback: WhenUnavailable) -> Decision:
    if fallback == "open":
        return None
    exchange.answer_headers[b"retry-after"] = (b"Retry-After", b"1")
    return exchange.refuse(
        503, problems.LIMITS_UNAVAILABLE, "The limits of this plan cannot be checked now. Try again."
    )
