"""What an announcement works with: the transaction that completes the event's row, the settings, the time."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from farebox.settings import Settings


@dataclass(frozen=True, slots=True)
class Telling:
    """`now` is the wall's time."""

    session: AsyncSession
    settings: Settings
    now: datetime


Announcement = Callable[[Telling, UUID, Mapping[str, Any]], Awaitable[None]]
"""Writes what must follow an event of an organization: rows of the outbox, nothing else."""
