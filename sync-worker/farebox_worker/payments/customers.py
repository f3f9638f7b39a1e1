"""A new organization is made known to the provider that collects its currency."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from farebox.payments import accounts, providers
from farebox.payments.accounts import Till
from farebox.problems import Refusal

if TYPE_CHECKING:
    from farebox_worker.jobs.outbox_row import Context


async def make_known(context: "Context", organization_id: UUID | None, _payload: Mapping[str, Any]) -> None:
    """Make the customer; without a provider there is nothing to do. Raises what providers raise."""
    if organization_id is None:
        return
    async with providers.opened(context.settings) as opened:
        till = Till(context.database, opened, context.clock, context.settings.public_url)
        async with context.database.transaction(organization=organization_id) as session:
            payer = await accounts.payer(session, organization_id)
        try:
            provider = opened.collecting(payer.currency)
        except Refusal:
            return
        await accounts.make_known(till, provider, organization_id)
