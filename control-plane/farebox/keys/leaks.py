"""Leak reports: whoever holds the text of a key may have it revoked, at once and for good.

The answer never says whether there was such a key. The text is hashed here and goes no further.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox_contract.keys import digest

_REPORT: Final = text("SELECT farebox_report_leak(:digest, :source, :at)")
SOURCE_LENGTH: Final = 500


async def report(session: AsyncSession, key: str, *, source: str | None, now: datetime) -> None:
    """Revoke the key with this text, if there is one, and tell its organization; `source`: where it was."""
    values = {"digest": digest(key), "source": source, "at": now}
    await session.execute(_REPORT, values)
