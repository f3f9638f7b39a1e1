"""How often one caller may ask: a sliding minute, counted in Redis in one round trip.

The window slides over two aligned minutes: the present one's count plus the part of the former that still
lies within sixty seconds. A refused request is not counted. Without Redis, authenticated reads pass, and
everything else is held by a small limiter of this process, so that guessing passwords never becomes free;
with N processes a caller then has at most N times the limit.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from farebox.metrics import Metrics

WINDOW: Final = 60
_PAUSE_AFTER_FAILURE: Final = 1.0
_LOCAL_CALLERS: Final = 10_000
_SCRIPT: Final = """
local now = redis.call('TIME')
local at = tonumber(now[1]) + tonumber(now[2]) / 1000000
local window, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local slot = math.floor(at / window)
local passed = at - slot * window
local name = KEYS[1] .. ':'
local current = tonumber(redis.call('GET', name .. slot) or '0')
local former = tonumber(redis.call('GET', name .. (slot - 1)) or '0')
local used = current + former * (window - passed) / window
local allowed = 0
if used + 1 <= limit then
  allowed = 1
  used = used + 1
  if redis.call('INCR', name .. slot) == 1 then redis.call('EXPIRE', name .. slot, window * 2) end
end
return {allowed, math.max(0, math.floor(limit - used)), math.ceil((slot + 1) * window - at)}
"""
_DIGEST: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """A decision: `limit` requests a minute, `remaining` of them now, a new window in `resets_in` seconds."""

    allowed: bool
    limit: int
    remaining: int
    resets_in: int

    def headers(self, policy: str, *, unix_now: float) -> Mapping[str, str]:
        """Return X-RateLimit-* (reset as a Unix time) and the IETF's RateLimit and RateLimit-Policy fields.

        The latter in the form of draft-ietf-httpapi-ratelimit-headers-10.
        """
        headers = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(unix_now) + self.resets_in),
            "RateLimit-Policy": f'"{policy}";q={self.limit};w={WINDOW}',
            "RateLimit": f'"{policy}";r={self.remaining};t={self.resets_in}',
        }
        if not self.allowed:
            headers["Retry-After"] = str(max(1, self.resets_in))
        return headers


class RateLimiter:
    """Counts callers. `redis` may be away at any time; it is asked again a second after it failed."""

    def __init__(self, redis: "Redis | None", metrics: Metrics) -> None:
        """Keep the client; nothing is sent yet."""
        self._redis: Any = redis  # its stubs deny what its evalsha takes and gives
        self._metrics = metrics
        self._local = LocalWindow()
        self._ask_again_at = 0.0

    async def take(self, caller: str, *, limit: int, may_pass_uncounted: bool) -> Allowance:
        """Count one request of `caller` and say whether it may pass."""
        counted = await self._take_shared(caller, limit)
        if counted is not None:
            return counted
        self._metrics.rate_limiter_away.inc()
        if may_pass_uncounted:
            return Allowance(True, limit, limit, WINDOW)
        return self._local.take(caller, limit, time.monotonic())

    async def answers(self) -> bool:
        """Tell whether Redis answers now."""
        if self._redis is None:
            return False
        try:
            await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def _take_shared(self, caller: str, limit: int) -> Allowance | None:
        if self._redis is None or time.monotonic() < self._ask_again_at:
            return None
        try:
            allowed, remaining, resets_in = await self._run(self._redis, f"farebox:rate:{caller}", limit)
        except (RedisError, OSError, TimeoutError) as error:
            self._ask_again_at = time.monotonic() + _PAUSE_AFTER_FAILURE
            log.warning("rate_limiter_away", error=type(error).__name__)
            return None
        return Allowance(allowed == 1, limit, int(remaining), int(resets_in))

    async def _run(self, redis: Any, key: str, limit: int) -> Sequence[int]:
        # By its digest; redis-py's own script object costs as much as the round trip.
        try:
            counted: Sequence[int] = await redis.evalsha(_DIGEST, 1, key, WINDOW, limit)
        except NoScriptError:
            counted = await redis.eval(_SCRIPT, 1, key, WINDOW, limit)
        return counted


class LocalWindow:
    """Fixed minutes of this process alone, for the callers seen last."""

    def __init__(self) -> None:
        """Begin with no caller."""
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, caller: str, limit: int, now: float) -> Allowance:
        """Count one request at `now`, in seconds of any clock that never runs backwards."""
        slot = int(now // WINDOW)
        known_slot, used = self._counts.get(caller, (slot, 0))
        used = used if known_slot == slot else 0
        allowed = used < limit
        self._counts[caller] = (slot, used + allowed)
        self._counts.move_to_end(caller)
        if len(self._counts) > _LOCAL_CALLERS:
            self._counts.popitem(last=False)
        return Allowance(allowed, limit, max(0, limit - used - allowed), math.ceil((slot + 1) * WINDOW - now))
