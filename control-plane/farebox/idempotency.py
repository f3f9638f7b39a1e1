"""Remembers the answers to POST requests that carried an `Idempotency-Key`.

The record is written in the transaction of the effect itself, so that there is never one without the other.
While that transaction runs it holds an advisory lock of the same name; a second request that finds it taken
is told so instead of waiting. `scope` is who asked (a user in an organization, or an address before log-in)
and where. What is refused is not remembered: nothing happened. An answer that showed a secret is kept
without it, and requests are kept as a keyed digest, because they may hold passwords.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import CursorResult, Index, LargeBinary, PrimaryKeyConstraint, String, delete, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from farebox.db import Base
from farebox.problems import IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_REUSED, Refusal

KEPT_FOR: Final = timedelta(hours=24)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_CLAIM: Final = text(
    """
    SELECT pg_try_advisory_xact_lock(hashtextextended(:scope || ' ' || :key, 0)) AS mine,
           kept.request_digest, kept.status, kept.answer
    FROM (SELECT 1) AS always
    LEFT JOIN idempotent_requests kept
      ON kept.scope = :scope AND kept.key = :key AND kept.created_at > :oldest
    """
)
_REMEMBER: Final = text(
    """
    INSERT INTO idempotent_requests (scope, key, request_digest, status, answer, created_at)
    VALUES (:scope, :key, :digest, :status, CAST(:answer AS jsonb), :now)
    ON CONFLICT (scope, key) DO UPDATE
    SET request_digest = excluded.request_digest, status = excluded.status, answer = excluded.answer,
        created_at = excluded.created_at
    WHERE idempotent_requests.created_at <= :oldest
    """
)


class IdempotentRequest(Base):
    """An answered request. Kept for 24 hours."""

    __tablename__ = "idempotent_requests"
    __table_args__ = (
        PrimaryKeyConstraint("scope", "key"),
        Index("ix_idempotent_requests_created_at", "created_at"),
    )

    scope: Mapped[str] = mapped_column(String(200))
    key: Mapped[str] = mapped_column(String(255))
    request_digest: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int]
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


@dataclass(frozen=True, slots=True)
class Request:
    """A request that may have been answered before."""

    scope: str
    key: str
    digest: bytes


class AlreadyAnsweredError(Exception):
    """The request was answered before: with `status` and `answer`."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        """Carry the answer to whoever speaks HTTP."""
        super().__init__("answered before")
        self.status = status
        self.answer = answer


def read_key(header: str) -> str:
    """Return the key. Raises `Refusal` 400 for an empty, long or unprintable one."""
    if not _KEY.fullmatch(header):
        raise Refusal(IDEMPOTENCY_KEY_INVALID)
    return header


def digest(secret: str, payload: bytes) -> bytes:
    """Return the HMAC-SHA256 of a request's payload: without the secret it tells nothing of a password."""
    return hmac.digest(secret.encode(), payload, hashlib.sha256)


async def claim(session: AsyncSession, request: Request, *, now: datetime) -> None:
    """Take the request for this transaction.

    Raises `AlreadyAnsweredError` if it was answered before, and `Refusal`: 409 while another transaction has
    it, 422 if the key came with another payload.
    """
    row = (
        await session.execute(_CLAIM, {"scope": request.scope, "key": request.key, "oldest": now - KEPT_FOR})
    ).one()
    if row.status is not None:
        if not hmac.compare_digest(row.request_digest, request.digest):
            raise Refusal(IDEMPOTENCY_KEY_REUSED)
        raise AlreadyAnsweredError(row.status, row.answer)
    if not row.mine:
        raise Refusal(IDEMPOTENCY_IN_FLIGHT, headers={"Retry-After": "1"})


async def remember(
    session: AsyncSession, request: Request, *, status: int, answer: bytes, now: datetime
) -> None:
    """Keep the answer, a JSON object, beside the effect.

    Raises `Refusal` 409 if another transaction kept its own since ours began: ours is then rolled back.
    """
    values = {
        "scope": request.scope,
        "key": request.key,
        "digest": request.digest,
        "status": status,
        "answer": answer.decode(),
        "now": now,
        "oldest": now - KEPT_FOR,
    }
    try:
        result = cast("CursorResult[Any]", await session.execute(_REMEMBER, values))
    except IntegrityError as error:
        raise Refusal(IDEMPOTENCY_IN_FLIGHT, headers={"Retry-After": "1"}) from error
    if result.rowcount == 0:
        raise Refusal(IDEMPOTENCY_IN_FLIGHT, headers={"Retry-After": "1"})


async def forget_expired(session: AsyncSession, *, now: datetime) -> int:
    """Delete what is older than 24 hours; returns how many."""
    statement = delete(IdempotentRequest).where(IdempotentRequest.created_at <= now - KEPT_FOR)
    return cast("CursorResult[Any]", await session.execute(statement)).rowcount
