"""The refunds of a credit note, made once its row is committed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from farebox import ids
from farebox.credit_notes import refunding
from farebox.payments import providers
from farebox.payments.accounts import Till

if TYPE_CHECKING:
    from farebox_worker.jobs.outbox_row import Context


async def refund(context: "Context", organization_id: UUID | None, payload: Mapping[str, Any]) -> None:
    """Make what is still planned. Raises while a refund is under way, so that it is looked at again."""
    if organization_id is None:
        return
    async with providers.opened(context.settings) as opened:
        till = Till(context.database, opened, context.clock, context.settings.public_url)
        await refunding.carry_out(till, organization_id, ids.decode("cn", payload["credit_note"]))
