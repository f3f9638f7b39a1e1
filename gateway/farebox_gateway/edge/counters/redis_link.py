"""One Redis as the counters need it: two scripts, and failing fast.

After a failure one request a second tries, the others do not wait. What the scripts count, and for whom, is
the business of `redis_store`; the Lua plugins run scripts that do the same on the same keys.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from farebox_contract.counters import GENERATION_KEY
from farebox_gateway.edge.counters.base import CounterUnavailableError

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: Final = 1.0

_TAKE: Final = """
local generation = redis.call('GET', KEYS[1])
if not generation then
  if ARGV[1] == '1' then return {'', -2} end
  generation = '-'
end
local n = #KEYS - 1
local used = {}
for i = 1, n do
  local limit, need = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1])
  used[i] = tonumber(redis.call('GET', KEYS[i + 1]) or '0')
  if limit >= 0 and used[i] + need > limit then return {generation, i - 1, used[i]} end
end
local out = {generation, -1}
for i = 1, n do
  local limit, need, most = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local slice = most
  if limit >= 0 then slice = math.min(most, math.floor((limit - used[i]) / 16)) end
  if slice < need then slice = need end
  redis.call('INCRBY', KEYS[i + 1], string.format('%.0f', slice))
  redis.call('PEXPIREAT', KEYS[i + 1], ARGV[4 * i + 1])
  out[#out + 1] = slice
  out[#out + 1] = used[i] + slice
end
return out
"""
_CORRECT: Final = """
local generation = redis.call('GET', KEYS[1]) or '-'
for i = 2, #KEYS do
  if ARGV[2 * i - 3] == generation then
    local used = tonumber(redis.call('GET', KEYS[i]) or '-1')
    if used >= 0 then
      local after = math.max(0, used + tonumber(ARGV[2 * i - 2]))
      redis.call('SET', KEYS[i], string.format('%.0f', after), 'KEEPTTL')
    end
  end
end
return generation
"""


class RedisLink:
    """See the module."""

    def __init__(self, url: str, *, timeout: float) -> None:
        self._redis: Redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), max_connections=64)
        self._timeout = timeout
        self._take = self._redis.register_script(_TAKE)
        self._correct = self._redis.register_script(_CORRECT)
        self._down_until = 0.0

    @property
    def available(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return not self._down_until

    def be_patient(self, seconds: float) -> None:
        """Ask again at once if Redis was away, and wait longer for it: nobody else waits any more."""
        self._timeout, self._down_until = max(self._timeout, seconds), 0.0

    async def take(self, keys: Sequence[str], arguments: list[Any]) -> list[Any]:
        """Check all counters and take from all or none.

        `arguments`: whether the generation is needed (`1`), then limit (-1: none), needed units, largest
        slice and expiry of each counter. Returns the generation and a verdict: -2 unseeded; the index of
        the counter that refuses, and its count; or -1, and slice and count of each. Raises
        `CounterUnavailableError`.
        """
        answer: list[Any] = await self._call(self._take, [GENERATION_KEY, *keys], arguments)
        return answer

    async def correct(self, keys: Sequence[str], arguments: list[Any]) -> str:
        """Add units to counters, or bring them back; return the generation (`-`: none).

        `arguments`: for each counter the generation that its units belong to, and the units. Those of another
        generation are void. Raises `CounterUnavailableError`.
        """
        generation: bytes = await self._call(self._correct, [GENERATION_KEY, *keys], arguments)
        return generation.decode()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()

    async def _call(self, script: Any, keys: list[str], arguments: list[Any]) -> Any:
        now = time.monotonic()
        if now < self._down_until:
            raise CounterUnavailableError("Redis did not answer a moment ago")
        if self._down_until:
            # This call finds out for all; the others are refused until it has.
            self._down_until = now + RETRY_AFTER_SECONDS
        try:
            async with asyncio.timeout(self._timeout):
                answer = await script(keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._down_until:
                log.critical(
                    "the counters in Redis cannot be reached: %s", str(error) or type(error).__name__
                )
            self._down_until = time.monotonic() + RETRY_AFTER_SECONDS
            raise CounterUnavailableError(str(error)) from error
        if self._down_until:
            log.warning("the counters in Redis answer again")
            self._down_until = 0.0
        return answer
