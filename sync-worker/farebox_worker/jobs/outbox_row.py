"""One outbox row, done: at least once, never zero, and its failures kept on the row for people to see.

A row is completed in a transaction of its own job, after the work; a worker that dies in between does it
again when the lease has run out. `attempts` counts leases, so a job that was queued under an older lease
knows that it is not meant any more.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from farebox.clock import Clock
from farebox.db import Database
from farebox.notifications import service as notifications
from farebox.outbox import CREDIT_NOTE_REFUND, INVOICE_COLLECT, PAYMENT_CUSTOMER, SEND_MAIL
from farebox.settings import Settings
from farebox_worker import credit_notes
from farebox_worker.announcing import ANNOUNCEMENTS, Telling
from farebox_worker.dunning import charging
from farebox_worker.payments import customers
from farebox_worker.supervision import describe

LEASE_SECONDS: Final = 90
TIMEOUT_SECONDS: Final = 60
LONGEST_PAUSE_SECONDS: Final = 3600
_LEASE: Final = text(
    """
    UPDATE outbox SET leased_until = now() + interval '1 second' * :seconds, attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM outbox
        WHERE done_at IS NULL AND available_at <= now() AND job = ANY(:jobs)
          AND (leased_until IS NULL OR leased_until < now())
        ORDER BY available_at, id LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING id, attempts
    """
)
_GIVE_BACK: Final = text(
    "UPDATE outbox SET leased_until = NULL, attempts = attempts - 1 WHERE id = ANY(:ids) AND done_at IS NULL"
)
_READ: Final = text(
    "SELECT job, organization_id, payload FROM outbox "
    "WHERE id = :id AND attempts = :attempt AND done_at IS NULL"
).columns(payload=JSONB())
_HOLD: Final = text(
    "SELECT id FROM outbox WHERE id = :id AND attempts = :attempt AND done_at IS NULL FOR UPDATE"
)
_DONE: Final = text("UPDATE outbox SET done_at = now(), last_error = NULL WHERE id = :id AND done_at IS NULL")
_FAILED: Final = text(
    """
    UPDATE outbox SET last_error = :error, leased_until = NULL,
        available_at = now() + interval '1 second' * (0.5 + random() / 2)
            * LEAST(:longest, power(2, LEAST(attempts, 20)))
    WHERE id = :id AND attempts = :attempt AND done_at IS NULL
    """
)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What jobs work with; `database` is the worker's role."""

    database: Database
    settings: Settings
    clock: Clock


Work = Callable[[Context, UUID | None, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Lease:
    """A row that is ours for a while; `attempt` tells this lease from earlier ones."""

    row: int
    attempt: int


async def send_mail(context: Context, organization_id: UUID | None, payload: Mapping[str, Any]) -> None:
    """Make one mail and send it."""
    await notifications.deliver(
        context.database,
        context.settings,
        context.clock,
        template=payload["template"],
        to=payload["to"],
        context=payload.get("context", {}),
        language=payload.get("language"),
        organization_id=organization_id,
    )


WORK: Final[Mapping[str, Work]] = MappingProxyType(
    {
        SEND_MAIL.name: send_mail,
        PAYMENT_CUSTOMER.name: customers.make_known,
        INVOICE_COLLECT.name: charging.collect_issued,
        CREDIT_NOTE_REFUND.name: credit_notes.refund,
    }
)
"""Which jobs go through the queue. Those of the gateways are done by whoever holds the gateway's lock."""


async def lease(database: Database, *, limit: int) -> list[Lease]:
    """Take rows whose time has come, for 90 seconds; nobody else gets them meanwhile."""
    async with database.transaction() as session:
        jobs = [*WORK, *ANNOUNCEMENTS]
        rows = await session.execute(_LEASE, {"seconds": LEASE_SECONDS, "jobs": jobs, "limit": limit})
        return [Lease(row.id, row.attempts) for row in rows]


async def give_back(database: Database, leases: list[Lease]) -> None:
    """Return leases that were not used."""
    async with database.transaction() as session:
        await session.execute(_GIVE_BACK, {"ids": [each.row for each in leases]})


async def run(context: Context, leased: Lease) -> None:
    """Do the row's work and complete it; on failure note why and when it is tried again.

    A row that is done already, or leased anew, is left alone.
    """
    async with context.database.transaction() as session:
        row = (await session.execute(_READ, {"id": leased.row, "attempt": leased.attempt})).one_or_none()
    if row is None:
        return
    try:
        if row.job in ANNOUNCEMENTS:
            await _announce(context, leased, row)
            return
        await WORK[row.job](context, row.organization_id, row.payload)
    except Exception as error:  # noqa: BLE001 - any failure is the row's, and is tried again
        log.warning("job_failed", job=row.job, row=leased.row, attempt=leased.attempt, error=describe(error))
        async with context.database.transaction() as session:
            await session.execute(
                _FAILED,
                {
                    "id": leased.row,
                    "attempt": leased.attempt,
                    "error": describe(error),
                    "longest": LONGEST_PAUSE_SECONDS,
                },
            )
        return
    async with context.database.transaction() as session:
        await session.execute(_DONE, {"id": leased.row})


async def _announce(context: Context, leased: Lease, row: Any) -> None:
    """Write what follows an event and complete its row, in one transaction: once, whatever happens."""
    async with context.database.transaction() as session:
        still = await session.execute(_HOLD, {"id": leased.row, "attempt": leased.attempt})
        if still.one_or_none() is None:
            return
        telling = Telling(session, context.settings, context.clock.now())
        await ANNOUNCEMENTS[row.job](telling, row.organization_id, row.payload)
        await session.execute(_DONE, {"id": leased.row})
