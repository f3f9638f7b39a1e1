"""People: registering, logging in, verifying an e-mail. Knows no HTTP, sends no mail, hashes no password.

What an answer tells about who exists is decided here. Registering says that an e-mail is taken, because the
person at a sign-up form must learn it; log-in and the request for a verification mail tell nothing.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, outbox, problems
from farebox.problems import Refusal
from farebox.users.model import EmailVerification, User

VERIFICATION_VALID_FOR: Final = timedelta(hours=24)
VERIFICATION_PAUSE: Final = timedelta(seconds=60)
"""A second mail to the same person follows the first by a minute at least."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What log-in needs to know of a user."""

    user_id: UUID
    password_hash: str


async def register(
    session: AsyncSession, *, email: str, name: str, password_hash: str, now: datetime
) -> UUID:
    """Make a user and have the verification mail sent. Raises `Refusal` 409 (`email_taken`)."""
    user_id = await _insert(session, email=email, name=name, password_hash=password_hash, now=now)
    if user_id is None:
        raise Refusal(problems.EMAIL_TAKEN)
    await request_verification(session, email)
    return user_id


async def make_operator(
    session: AsyncSession, *, email: str, name: str, password_hash: str, now: datetime
) -> UUID:
    """Make an operator, his e-mail taken as verified. Raises `Refusal` 409 (`email_taken`)."""
    user_id = await _insert(
        session, email=email, name=name, password_hash=password_hash, now=now, operator_since=now
    )
    if user_id is None:
        raise Refusal(problems.EMAIL_TAKEN, f"{email} is registered already")
    return user_id


async def request_verification(session: AsyncSession, email: str) -> None:
    """Have a verification mail sent, if there is such a user and he has not verified yet.

    Whether there is one is looked at when the mail is made, so that asking costs the same either way.
    """
    payload = {"template": "verify_email", "to": email, "context": {}}
    await outbox.enqueue(session, outbox.SEND_MAIL, payload=payload)


async def verification_token(session: AsyncSession, email: str, *, now: datetime) -> tuple[User, str] | None:
    """Make a token for the mail job, kept as its SHA-256 alone; valid for 24 hours and once.

    None when nothing is to be sent: nobody has this e-mail, he has verified it, or a mail went out just now.
    """
    user = (await session.scalars(select(User).where(User.email == email))).one_or_none()
    if user is None or user.email_verified_at is not None:
        return None
    recent = await session.scalar(
        select(func.count())
        .select_from(EmailVerification)
        .where(EmailVerification.user_id == user.id, EmailVerification.created_at > now - VERIFICATION_PAUSE)
    )
    if recent:
        return None
    token = secrets.token_urlsafe(32)
    session.add(
        EmailVerification(
            token_digest=_digest(token),
            user_id=user.id,
            created_at=now,
            expires_at=now + VERIFICATION_VALID_FOR,
        )
    )
    await session.flush()
    return user, token


async def forget_token(session: AsyncSession, token: str) -> None:
    """Take back a token whose mail could not be sent, so that the next try makes another."""
    await session.execute(delete(EmailVerification).where(EmailVerification.token_digest == _digest(token)))


async def verify_email(session: AsyncSession, token: str, *, now: datetime) -> User:
    """Use a token up, and every other that its user still has. Raises `Refusal` 400."""
    user_id = await session.scalar(
        update(EmailVerification)
        .where(
            EmailVerification.token_digest == _digest(token),
            EmailVerification.used_at.is_(None),
            EmailVerification.expires_at > now,
        )
        .values(used_at=now)
        .returning(EmailVerification.user_id)
    )
    if user_id is None:
        raise Refusal(problems.VERIFICATION_INVALID)
    await session.execute(
        update(EmailVerification)
        .where(EmailVerification.user_id == user_id, EmailVerification.used_at.is_(None))
        .values(used_at=now)
    )
    user = await session.get_one(User, user_id)
    if user.email_verified_at is None:
        user.email_verified_at = now
        payload = {"template": "welcome", "to": user.email, "context": {"name": user.name}}
        await outbox.enqueue(session, outbox.SEND_MAIL, payload=payload)
    return user


async def credentials(session: AsyncSession, email: str) -> Credentials | None:
    """Return what log-in compares with, or None when nobody has this e-mail."""
    row = (
        await session.execute(select(User.id, User.password_hash).where(User.email == email))
    ).one_or_none()
    return Credentials(row.id, row.password_hash) if row is not None else None


async def get(session: AsyncSession, user_id: UUID) -> User:
    """Return the user. Raises `Refusal` 401: the token outlived him."""
    user = await session.get(User, user_id)
    if user is None:
        raise Refusal(problems.INVALID_TOKEN, log="the token's user does not exist")
    return user


async def _insert(
    session: AsyncSession,
    *,
    email: str,
    name: str,
    password_hash: str,
    now: datetime,
    operator_since: datetime | None = None,
) -> UUID | None:
    made: UUID | None = await session.scalar(
        insert(User)
        .values(
            id=ids.uuid7(),
            email=email,
            name=name,
            password_hash=password_hash,
            email_verified_at=operator_since,
            is_operator=operator_since is not None,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(User.id)
    )
    return made


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
