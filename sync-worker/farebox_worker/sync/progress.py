"""What the database remembers of each gateway: how far it has got, what failed, and who writes to it.

The outbox says what changed, so that a worker looks at changes and not at a hundred thousand organizations;
the revisions decide. An outbox row is completed in the transaction that records its revision as applied, and
only when every gateway has applied the newest one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.gateways.service import GATEWAY_PASS
from farebox.ids import uuid7
from farebox.outbox import GATEWAY_CATALOGUE, GATEWAY_SYNC

_GATEWAY: Final = text(
    "SELECT id, catalogue_revision, applied_catalogue_revision, last_full_pass_at, marker FROM gateways "
    "WHERE code = :code"
)
_TAKE_OVER: Final = text(
    "UPDATE gateways g SET writer = :writer FROM gateways before "
    "WHERE g.id = :gateway AND before.id = g.id RETURNING before.writer"
)
_RELEASE: Final = text("UPDATE gateways SET writer = NULL WHERE id = :gateway AND writer = :writer")
_CHANGED: Final = text(
    """
    SELECT id FROM (
        SELECT b.organization_id AS id, b.available_at
        FROM outbox b JOIN organizations o ON o.id = b.organization_id
        LEFT JOIN gateway_organizations a ON a.gateway_id = :gateway AND a.organization_id = o.id
        WHERE b.done_at IS NULL AND b.available_at <= now() AND b.job = :job
          AND COALESCE(a.accepted_revision, 0) < o.edge_revision
        ORDER BY b.available_at, b.id LIMIT :limit
    ) changed
    UNION
    SELECT organization_id FROM (
        SELECT organization_id FROM gateway_organizations
        WHERE gateway_id = :gateway AND attempts > 0 AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT :limit
    ) due
    """
)
_LAGGING: Final = text(
    """
    SELECT o.id FROM organizations o
    LEFT JOIN gateway_organizations a ON a.gateway_id = :gateway AND a.organization_id = o.id
    WHERE o.id > :after AND COALESCE(a.accepted_revision, 0) < o.edge_revision
      AND (a.next_attempt_at IS NULL OR a.next_attempt_at <= now())
    ORDER BY o.id LIMIT :limit
    """
)
_ACCEPTED: Final = text(
    "SELECT organization_id, accepted_revision FROM gateway_organizations "
    "WHERE gateway_id = :gateway AND organization_id = ANY(:ids)"
)
_RECORD: Final = text(
    """
    INSERT INTO gateway_organizations (gateway_id, organization_id, accepted_revision, accepted_at,
                                       applied_revision, applied_at, last_error)
    SELECT :gateway, t.id, t.revision, now(), CASE WHEN t.waits IS NULL THEN t.revision ELSE 0 END,
           CASE WHEN t.waits IS NULL THEN now() END, t.waits
    FROM unnest(CAST(:ids AS uuid[]), CAST(:revisions AS bigint[]), CAST(:waits AS text[]))
         AS t(id, revision, waits)
    ON CONFLICT (gateway_id, organization_id) DO UPDATE
    SET accepted_revision = GREATEST(gateway_organizations.accepted_revision, excluded.accepted_revision),
        accepted_at = excluded.accepted_at,
        applied_revision = GREATEST(gateway_organizations.applied_revision, excluded.applied_revision),
        applied_at = COALESCE(excluded.applied_at, gateway_organizations.applied_at),
        attempts = 0, last_error = excluded.last_error, next_attempt_at = NULL
    """
)
_UNPROVEN: Final = text(
    """
    SELECT o.id, o.public_id, a.accepted_revision, a.accepted_at,
           ARRAY(SELECT k.public_id FROM api_keys k
                 WHERE k.organization_id = o.id AND k.state <> 'active'
                   AND k.edge_revision > a.applied_revision) AS gone
    FROM gateway_organizations a JOIN organizations o ON o.id = a.organization_id
    WHERE a.gateway_id = :gateway AND a.accepted_revision > a.applied_revision
      AND a.accepted_revision = o.edge_revision AND a.organization_id > :after
    ORDER BY a.organization_id LIMIT :limit
    """
)
_PROVEN: Final = text(
    """
    UPDATE gateway_organizations a SET applied_revision = t.revision, applied_at = now(), last_error = NULL
    FROM unnest(CAST(:ids AS uuid[]), CAST(:revisions AS bigint[])) AS t(id, revision)
    WHERE a.gateway_id = :gateway AND a.organization_id = t.id AND a.accepted_revision = t.revision
      AND a.applied_revision < t.revision
    """
)
_WAITS: Final = text(
    """
    UPDATE gateway_organizations a SET last_error = t.waits
    FROM unnest(CAST(:ids AS uuid[]), CAST(:waits AS text[])) AS t(id, waits)
    WHERE a.gateway_id = :gateway AND a.organization_id = t.id AND a.attempts = 0
      AND a.accepted_revision > a.applied_revision
    """
)
_STEPS: Final = text(
    """
    SELECT o.id, o.edge_revision, COALESCE(a.accepted_revision, 0) AS accepted_revision, a.accepted_at,
           a.last_error
    FROM organizations o
    LEFT JOIN gateway_organizations a ON a.gateway_id = :gateway AND a.organization_id = o.id
    WHERE o.id = ANY(:ids)
    """
)
_OWNERS: Final = text(
    "SELECT id FROM organizations WHERE public_id = ANY(:consumers) "
    "UNION SELECT organization_id FROM api_keys WHERE digest = ANY(:digests)"
)
_MARK: Final = text("UPDATE gateways SET marker = :marker WHERE id = :gateway")
_REGISTER: Final = text(
    "INSERT INTO gateways (id, code, catalogue_revision) SELECT :id, :code, "
    "(SELECT COALESCE(max(catalogue_revision), 1) FROM gateways) ON CONFLICT (code) DO NOTHING"
)
_COMPLETE: Final = text(
    """
    UPDATE outbox b SET done_at = now(), last_error = NULL
    FROM organizations o
    WHERE b.organization_id = o.id AND b.job = :job AND b.done_at IS NULL AND {which}
      AND NOT EXISTS (
        SELECT FROM gateways g
        LEFT JOIN gateway_organizations a ON a.gateway_id = g.id AND a.organization_id = o.id
        WHERE COALESCE(a.applied_revision, 0) < o.edge_revision)
    """.replace("{which}", "(:all_of_them OR o.id = ANY(:ids))")
)
_FAIL: Final = text(
    """
    WITH failed AS (
        INSERT INTO gateway_organizations (gateway_id, organization_id, attempts, last_error, next_attempt_at)
        SELECT :gateway, t.id, 1, t.error, now() + interval '0.75 seconds'
        FROM unnest(CAST(:ids AS uuid[]), CAST(:errors AS text[])) AS t(id, error)
        ON CONFLICT (gateway_id, organization_id) DO UPDATE
        SET attempts = gateway_organizations.attempts + 1, last_error = excluded.last_error,
            next_attempt_at = now() + interval '1 second' * (0.5 + random() / 2)
                * LEAST(:longest, power(2, LEAST(gateway_organizations.attempts, 20)))
        RETURNING organization_id, last_error, next_attempt_at
    )
    UPDATE outbox b SET attempts = b.attempts + 1, last_error = f.last_error, available_at = f.next_attempt_at
    FROM failed f WHERE b.organization_id = f.organization_id AND b.job = :job AND b.done_at IS NULL
    """
)
_CATALOGUE_APPLIED: Final = text(
    "UPDATE gateways SET applied_catalogue_revision = GREATEST(applied_catalogue_revision, :revision), "
    "catalogue_error = NULL WHERE id = :gateway"
)
_CATALOGUE_FAILED: Final = text("UPDATE gateways SET catalogue_error = :error WHERE id = :gateway")
_COMPLETE_CATALOGUE: Final = text(
    "UPDATE outbox SET done_at = now(), last_error = NULL WHERE job = :job AND done_at IS NULL "
    "AND NOT EXISTS (SELECT FROM gateways WHERE applied_catalogue_revision < catalogue_revision)"
)
_UNSETTLE: Final = text("UPDATE gateways SET applied_catalogue_revision = 0 WHERE id = :gateway")
_FULL_PASS: Final = text(
    "UPDATE gateways SET last_full_pass_at = now(), last_full_pass = :report WHERE id = :gateway"
).bindparams(bindparam("report", type_=JSONB))
_REQUESTED: Final = text(
    "SELECT id, payload FROM outbox WHERE job = :job AND done_at IS NULL AND available_at <= now() "
    "AND payload->>'gateway' = :code ORDER BY id LIMIT 1"
).columns(payload=JSONB())
_ANSWER: Final = text(
    "UPDATE outbox SET done_at = now(), last_error = :error, "
    "payload = payload || jsonb_build_object('report', CAST(:report AS jsonb)) WHERE id = :id"
).bindparams(bindparam("report", type_=JSONB))
LONGEST_PAUSE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What is recorded of one gateway."""

    id: UUID
    catalogue_revision: int
    applied_catalogue_revision: int
    last_full_pass_at: datetime | None
    marker: str | None

    @property
    def catalogue_settled(self) -> bool:
        """Whether the gateway has the newest catalogue."""
        return self.applied_catalogue_revision >= self.catalogue_revision


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one organization at one gateway: `error` says why the gateway does not have `revision`.

    `waits` says which node has not been seen to enforce it; without it and without an error all do.
    """

    organization: UUID
    name: str
    revision: int
    writes: int
    error: str | None = None
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Unproven:
    """An organization whose `revision` the gateway took at `accepted_at`; `gone` are keys revoked since the
    revision that all nodes enforce.
    """

    id: UUID
    public_id: str
    revision: int
    accepted_at: datetime
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """How far one organization has got at one gateway: `revision` is to hold."""

    revision: int
    accepted_revision: int
    accepted_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """A person asked for a pass; `scope` is `all`, `keys` or `cleanup`."""

    id: int
    scope: str
    overwrite_newer: bool


async def gateway(session: AsyncSession, code: str) -> GatewayState | None:
    """Read the state of the gateway with this code."""
    row = (await session.execute(_GATEWAY, {"code": code})).one_or_none()
    if row is None:
        return None
    return GatewayState(
        row.id, row.catalogue_revision, row.applied_catalogue_revision, row.last_full_pass_at, row.marker
    )


async def register(session: AsyncSession, code: str) -> None:
    """Make a row for a gateway that has none; from then on nothing is enforced that it does not enforce."""
    await session.execute(_REGISTER, {"id": uuid7(), "code": code})


async def mark(session: AsyncSession, gateway_id: UUID, marker: str) -> None:
    """Remember what the gateway's marker says."""
    await session.execute(_MARK, {"gateway": gateway_id, "marker": marker})


async def take_over(session: AsyncSession, gateway_id: UUID, writer: str) -> str | None:
    """Note who writes from now on; return who wrote before and has not said that he stopped."""
    before: str | None = await session.scalar(_TAKE_OVER, {"gateway": gateway_id, "writer": writer})
    return before


async def release(session: AsyncSession, gateway_id: UUID, writer: str) -> None:
    """Note that this writer has stopped, with no request of his under way."""
    await session.execute(_RELEASE, {"gateway": gateway_id, "writer": writer})


async def changed(session: AsyncSession, gateway_id: UUID, *, limit: int) -> list[UUID]:
    """Return organizations that the outbox says have changed, and failed ones whose time has come."""
    rows = await session.execute(_CHANGED, {"gateway": gateway_id, "limit": limit, "job": GATEWAY_SYNC.name})
    return [row.id for row in rows]


async def lagging(session: AsyncSession, gateway_id: UUID, *, after: UUID, limit: int) -> list[UUID]:
    """Return organizations whose revision is not applied, whatever the outbox says, in order of their ids."""
    rows = await session.execute(_LAGGING, {"gateway": gateway_id, "after": after, "limit": limit})
    return [row.id for row in rows]


async def accepted(session: AsyncSession, gateway_id: UUID, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the revisions of these organizations that the gateway has taken; none: it is left out."""
    rows = await session.execute(_ACCEPTED, {"gateway": gateway_id, "ids": list(ids)})
    return {row.organization_id: row.accepted_revision for row in rows}


async def steps_of(session: AsyncSession, gateway_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Steps]:
    """Return how far each of these organizations has got."""
    rows = await session.execute(_STEPS, {"gateway": gateway_id, "ids": list(ids)})
    return {
        row.id: Steps(row.edge_revision, row.accepted_revision, row.accepted_at, row.last_error)
        for row in rows
    }


async def owners(session: AsyncSession, *, consumers: Sequence[str], digests: Sequence[str]) -> list[UUID]:
    """Return the organizations with these public ids, or with keys of these digests."""
    rows = await session.execute(_OWNERS, {"consumers": list(consumers), "digests": list(digests)})
    return [row.id for row in rows]


async def unproven(session: AsyncSession, gateway_id: UUID, *, after: UUID, limit: int) -> list[Unproven]:
    """Return organizations that the gateway has taken and not every node has been seen to enforce."""
    rows = await session.execute(_UNPROVEN, {"gateway": gateway_id, "after": after, "limit": limit})
    return [
        Unproven(row.id, row.public_id, row.accepted_revision, row.accepted_at, tuple(row.gone))
        for row in rows
    ]


async def record_proven(
    session: AsyncSession, gateway_id: UUID, proven: Mapping[UUID, int], waiting: Mapping[UUID, str]
) -> None:
    """Record which revisions all nodes enforce, and for which organizations a node is waited for."""
    if proven:
        ids = list(proven)
        await session.execute(
            _PROVEN, {"gateway": gateway_id, "ids": ids, "revisions": list(proven.values())}
        )
        await session.execute(_COMPLETE, {"job": GATEWAY_SYNC.name, "ids": ids, "all_of_them": False})
    if waiting:
        await session.execute(
            _WAITS, {"gateway": gateway_id, "ids": list(waiting), "waits": list(waiting.values())}
        )


async def record(session: AsyncSession, gateway_id: UUID, outcomes: Sequence[Outcome]) -> None:
    """Record what came of a batch, and complete the outbox rows that are thereby done.

    A failure is tried again after 1, 2, 4 … seconds, at most five minutes, with jitter.
    """
    done = [each for each in outcomes if each.error is None]
    failed = [each for each in outcomes if each.error is not None]
    if done:
        ids = [each.organization for each in done]
        revisions = [each.revision for each in done]
        waits = [each.waits for each in done]
        await session.execute(
            _RECORD, {"gateway": gateway_id, "ids": ids, "revisions": revisions, "waits": waits}
        )
        await session.execute(_COMPLETE, {"job": GATEWAY_SYNC.name, "ids": ids, "all_of_them": False})
    if failed:
        await session.execute(
            _FAIL,
            {
                "gateway": gateway_id,
                "job": GATEWAY_SYNC.name,
                "ids": [each.organization for each in failed],
                "errors": [each.error for each in failed],
                "longest": LONGEST_PAUSE_SECONDS,
            },
        )


async def complete_leftovers(session: AsyncSession) -> None:
    """Complete outbox rows that are done but were not seen so: two gateways ended at the same time."""
    await session.execute(_COMPLETE, {"job": GATEWAY_SYNC.name, "ids": [], "all_of_them": True})
    await session.execute(_COMPLETE_CATALOGUE, {"job": GATEWAY_CATALOGUE.name})


async def record_catalogue(
    session: AsyncSession, gateway_id: UUID, *, revision: int, error: str | None
) -> None:
    """Record that the gateway has the catalogue of this revision, or why it has not."""
    if error is not None:
        await session.execute(_CATALOGUE_FAILED, {"gateway": gateway_id, "error": error})
        return
    await session.execute(_CATALOGUE_APPLIED, {"gateway": gateway_id, "revision": revision})
    await session.execute(_COMPLETE_CATALOGUE, {"job": GATEWAY_CATALOGUE.name})


async def unsettle_catalogue(session: AsyncSession, gateway_id: UUID) -> None:
    """Have the catalogue written anew: what had been applied is gone."""
    await session.execute(_UNSETTLE, {"gateway": gateway_id})


async def record_full_pass(session: AsyncSession, gateway_id: UUID, report: dict[str, Any]) -> None:
    """Keep the report of the last full pass, for operators."""
    await session.execute(_FULL_PASS, {"gateway": gateway_id, "report": report})


async def requested(session: AsyncSession, code: str) -> Request | None:
    """Return the oldest pass that somebody asked for and that is not done."""
    row = (await session.execute(_REQUESTED, {"job": GATEWAY_PASS.name, "code": code})).one_or_none()
    if row is None:
        return None
    return Request(row.id, row.payload.get("scope", "all"), bool(row.payload.get("overwrite_newer")))


async def answer(session: AsyncSession, request: Request, report: dict[str, Any], error: str | None) -> None:
    """Complete a request with its report."""
    await session.execute(_ANSWER, {"id": request.id, "report": report, "error": error})
