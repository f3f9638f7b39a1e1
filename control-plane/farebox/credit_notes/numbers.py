"""Credit note numbers: a series of their own per issuer, taken where the note is issued, so without gaps."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.invoices.numbers import DEFAULT_PREFIX, shown

_TAKE: Final = text(
    "INSERT INTO credit_note_numbers AS n (issuer, next_number) VALUES (:issuer, 2) "
    "ON CONFLICT (issuer) DO UPDATE SET next_number = n.next_number + 1 "
    "RETURNING next_number - 1, (SELECT number_prefix FROM issuers WHERE code = :issuer)"
)


async def take(session: AsyncSession, issuer: str) -> str:
    """Take the issuer's next number, such as `FB-CN-000001`. Others wait until this transaction ends."""
    number, prefix = (await session.execute(_TAKE, {"issuer": issuer})).one()
    return shown(number, f"{DEFAULT_PREFIX if prefix is None else prefix}CN-")
