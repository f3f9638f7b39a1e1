"""Invoice numbers: one row per issuer, taken inside the finalizing transaction, so that a rollback takes the
number back and the series has no gap (which most tax laws ask for). A sequence would leave one.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TAKE: Final = text(
    "INSERT INTO invoice_numbers AS n (issuer, next_number) VALUES (:issuer, 1 + :count) "
    "ON CONFLICT (issuer) DO UPDATE SET next_number = n.next_number + :count "
    "RETURNING next_number - :count, (SELECT number_prefix FROM issuers WHERE code = :issuer)"
)


DEFAULT_PREFIX: Final = "FB-"


def shown(number: int, prefix: str = DEFAULT_PREFIX) -> str:
    """Return the number as it stands on an invoice: `FB-000001`; more digits when six are used up."""
    return f"{prefix}{number:06d}"


async def take(session: AsyncSession, issuer: str, count: int = 1) -> list[str]:
    """Take the issuer's next `count` numbers. Others who finalize wait until this transaction ends."""
    if count == 0:
        return []
    first, prefix = (await session.execute(_TAKE, {"issuer": issuer, "count": count})).one()
    return [shown(number, prefix or DEFAULT_PREFIX) for number in range(first, first + count)]
