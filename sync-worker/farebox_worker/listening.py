"""Hearing at once that the outbox has grown: PostgreSQL's LISTEN, on a connection of its own.

A notification only hurries. Whoever waits on a `Bell` also looks by himself now and then, so that one lost
notification costs a poll and nothing else.
"""

import asyncio
from typing import Final

import structlog

from farebox.outbox import CHANNEL
from farebox_worker.advisory import connect, hang_up
from farebox_worker.supervision import wait_for

_CHECK_SECONDS: Final = 10.0
_PATIENCE: Final = 5.0
log = structlog.get_logger(__name__)


class Bell:
    """Rung when there may be something to do; each who waits has his own event."""

    def __init__(self) -> None:
        self._events: list[asyncio.Event] = []

    def event(self) -> asyncio.Event:
        """Return a new event that every ring sets; its owner clears it before he looks."""
        event = asyncio.Event()
        event.set()
        self._events.append(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        """Ring an event no longer; its owner has gone."""
        if event in self._events:
            self._events.remove(event)

    def ring(self) -> None:
        """Set every event."""
        for event in self._events:
            event.set()


async def listen(url: str, bell: Bell, stop: asyncio.Event) -> None:
    """Ring the bell for each notification, and once when the connection is new: some may have been missed.

    Raises `OSError`, asyncpg's errors or `TimeoutError` when PostgreSQL goes away.
    """
    connection = await connect(url, application="farebox listen", patience=_PATIENCE)
    gone = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: gone.set())
        await connection.add_listener(CHANNEL, lambda *_: bell.ring())
        log.info("listening", channel=CHANNEL)
        bell.ring()
        while not stop.is_set():
            waiting = {
                asyncio.ensure_future(stop.wait()),
                asyncio.ensure_future(wait_for(gone, _CHECK_SECONDS)),
            }
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
            if gone.is_set() and not stop.is_set():
                raise ConnectionResetError("PostgreSQL closed the connection that listens")
            if not stop.is_set():
                async with asyncio.timeout(_PATIENCE):
                    await connection.execute("SELECT 1")
    finally:
        await hang_up(connection, patience=_PATIENCE)
