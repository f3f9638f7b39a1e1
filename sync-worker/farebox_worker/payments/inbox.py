"""The inbox, emptied: events are leased, handled outside any transaction, and marked.

What fails is tried again with growing pauses for about three days, then parked; what does not fit is parked
at once. An event is never deleted here.
"""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text

from farebox.payments.accounts import Till
from farebox.payments.provider import ProviderRefusedError
from farebox.problems import Refusal
from farebox_worker.payments import events
from farebox_worker.payments.events import Event, ParkedError
from farebox_worker.supervision import describe

BATCH: Final = 50
AT_ONCE: Final = 8
LEASE_SECONDS: Final = 120
MOST_ATTEMPTS: Final = 30
LONGEST_PAUSE_SECONDS: Final = 4 * 3600
_LEASE: Final = text(
    """
    UPDATE webhook_events SET attempts = attempts + 1,
           next_attempt_at = CAST(:now AS timestamptz) + interval '1 second' * :seconds
    WHERE id IN (SELECT id FROM webhook_events WHERE state = 'received' AND next_attempt_at <= :now
                 ORDER BY next_attempt_at, id LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING id, provider, kind, body, attempts
    """
)
_MARK: Final = text(
    "UPDATE webhook_events SET state = :state, error = :error, done_at = :now "
    "WHERE id = :id AND state = 'received'"
)
_AGAIN: Final = text(
    """
    UPDATE webhook_events SET error = :error, next_attempt_at = CAST(:now AS timestamptz)
        + interval '1 second' * LEAST(:longest, power(2, LEAST(attempts, 20)))
    WHERE id = :id AND state = 'received'
    """
)
_REPLAY: Final = text(
    "UPDATE webhook_events SET state = 'received', attempts = 0, error = NULL, done_at = NULL, "
    "next_attempt_at = :now WHERE provider = :provider AND event_id = :event RETURNING id"
)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Leased:
    """An event that is ours for a while."""

    id: UUID
    attempts: int
    event: Event


async def empty(till: Till) -> int:
    """Handle every event whose time has come; returns how many were looked at."""
    handled = 0
    while True:
        async with till.database.transaction() as session:
            rows = await session.execute(
                _LEASE, {"now": till.now(), "seconds": LEASE_SECONDS, "limit": BATCH}
            )
            batch = [
                Leased(row.id, row.attempts, Event(row.provider, row.kind, bytes(row.body))) for row in rows
            ]
        if not batch:
            return handled
        turns = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(_one(till, each, turns) for each in batch))
        handled += len(batch)


async def replay(till: Till, provider: str, event_id: str) -> bool:
    """Have an event handled once more; False if there is none."""
    async with till.database.transaction() as session:
        values = {"now": till.now(), "provider": provider, "event": event_id}
        return (await session.execute(_REPLAY, values)).one_or_none() is not None


async def _one(till: Till, leased: Leased, turns: asyncio.Semaphore) -> None:
    async with turns:
        try:
            state, error = str(await events.handle(till, leased.event)), None
        except (ParkedError, ProviderRefusedError, Refusal) as refused:
            state, error = "parked", str(refused)
        except Exception as fault:  # noqa: BLE001 - any failure is the event's, and is tried again
            error = describe(fault)
            state = "received" if leased.attempts < MOST_ATTEMPTS else "parked"
    values = {"id": leased.id, "error": error and error[:1000], "now": till.now()}
    async with till.database.transaction() as session:
        if state == "received":
            await session.execute(_AGAIN, {**values, "longest": LONGEST_PAUSE_SECONDS})
        else:
            await session.execute(_MARK, {**values, "state": state})
    if error is not None:
        log.warning("webhook_not_done", kind=leased.event.kind, state=state, error=error)
