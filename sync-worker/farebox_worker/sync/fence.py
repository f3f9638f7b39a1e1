"""Nobody writes to a gateway who no longer holds its lock.

The Admin API has no compare-and-set, so the lock is asked before writes that are more than a moment away from
the last time it answered. What a holder sent before he lost it, his successor waits out.
"""

import asyncio
from typing import Final, Protocol

FRESH_SECONDS: Final = 0.5


class Lock(Protocol):
    """Something that can say whether it is still held."""

    async def check(self) -> None:
        """Return if it is; raise if it is not."""
        ...


class Fence:
    """Lets a write pass while the lock is held."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def check(self) -> None:
        """Return if the lock was held a moment ago. Raises `LockLostError`."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._asked_at < FRESH_SECONDS:
            return
        async with self._asking:
            began = loop.time()
            if began - self._asked_at < FRESH_SECONDS:
                return
            await self._lock.check()
            self._asked_at = began
