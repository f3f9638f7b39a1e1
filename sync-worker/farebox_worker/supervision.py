"""Keeping the worker's parts alive: what fails is said once, waited out, and begun again.

A server that goes away is no reason to end: a process that ends and is started again and again loses its
caches, its locks and the log line that would have said why. Knows nothing of what it keeps alive.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
STEADY_SECONDS: Final = 10.0
log = structlog.get_logger(__name__)


def backoff(attempts: int, *, first: float, longest: float, chance: float) -> float:
    """Return the seconds to wait after `attempts` failures in a row: doubling, with jitter of a half.

    `chance` is a random number from 0 to 1, so that a rule can be tested and a crowd is spread out.
    """
    whole = min(longest, first * 2.0 ** min(attempts - 1, 30))
    return float(whole * (0.5 + chance / 2))


async def keep(name: str, part: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run `part` again and again until `stop`, with a growing pause after failures in a row.

    A part that returns is begun again at once; it should return only when it was told to stop.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while not stop.is_set():
        began = loop.time()
        try:
            await part()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts go on and this one comes back
            failures = 1 if loop.time() - began > STEADY_SECONDS else failures + 1
            pause = backoff(failures, first=FIRST_PAUSE, longest=LONGEST_PAUSE, chance=random.random())  # noqa: S311 - jitter
            log.warning(
                "part_failed", part=name, error=describe(error), failures=failures, again_in=round(pause, 2)
            )
            await wait_for(stop, pause)
        else:
            if failures:
                log.info("part_recovered", part=name)
            failures = 0


async def every(
    seconds: float, stop: asyncio.Event, work: Callable[[], Awaitable[None]], *, at_once: bool = True
) -> None:
    """Do `work` at once and then again `seconds` after it ended, until `stop`."""
    if not at_once:
        await wait_for(stop, seconds)
    while not stop.is_set():
        await work()
        await wait_for(stop, seconds)


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, at most so long; tell whether it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def describe(error: BaseException) -> str:
    """Return what went wrong in one line: the first cause of a group or chain, without SQL parameters."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:500]
