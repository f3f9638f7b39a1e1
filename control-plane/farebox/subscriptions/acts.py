"""The operators' verbs by name, for the endpoint and the command alike."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from farebox.subscriptions import service, wishes

Action = Literal[
    "cancel", "cancel_now", "undo_cancel", "pause", "resume", "suspend", "reinstate", "reactivate"
]
_Verb = Callable[[AsyncSession, UUID, datetime, str, str], Awaitable[object]]
_VERBS: Final[Mapping[Action, _Verb]] = MappingProxyType(
    {
        "cancel": lambda s, o, wall, cause, actor: wishes.cancel(s, o, wall=wall, cause=cause, actor=actor),
        "cancel_now": lambda s, o, wall, cause, actor: wishes.cancel(
            s, o, wall=wall, cause=cause, actor=actor, when="now"
        ),
        "undo_cancel": lambda s, o, wall, _, actor: wishes.undo_cancel(s, o, wall=wall, actor=actor),
        "pause": lambda s, o, wall, cause, actor: wishes.pause(s, o, wall=wall, cause=cause, actor=actor),
        "resume": lambda s, o, wall, cause, actor: wishes.resume(s, o, wall=wall, cause=cause, actor=actor),
        "suspend": lambda s, o, wall, cause, actor: service.suspend(s, o, now=wall, cause=cause, actor=actor),
        "reinstate": lambda s, o, wall, cause, actor: service.reinstate(
            s, o, now=wall, cause=cause, actor=actor
        ),
        "reactivate": lambda s, o, wall, _, actor: wishes.reactivate(s, o, wall=wall, actor=actor),
    }
)


async def act(
    session: AsyncSession,
    organization_id: UUID,
    action: Action,
    *,
    wall: datetime,
    cause: str,
    actor: str,
) -> None:
    """Do what is asked. Raises `Refusal` as the verb does."""
    await _VERBS[action](session, organization_id, wall, cause, actor)
