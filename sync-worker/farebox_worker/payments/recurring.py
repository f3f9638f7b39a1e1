"""What is done about payments again and again, with providers that are opened once for all of it."""

from collections.abc import Awaitable, Callable
from typing import Final

from farebox.payments.accounts import Till
from farebox.payments.providers import Providers
from farebox_worker.jobs.outbox_row import Context
from farebox_worker.payments import inbox, managing, reconciliation, recovery

INBOX_SECONDS: Final = 0.2
RECOVERY_SECONDS: Final = 30.0
RECONCILIATION_SECONDS: Final = 600.0
MANAGED_SECONDS: Final = 10.0


def parts(context: Context, opened: Providers) -> dict[str, tuple[float, Callable[[], Awaitable[None]]]]:
    """Return each part's name, its pause in seconds, and what it does."""
    till = Till(context.database, opened, context.clock, context.settings.public_url)

    async def webhooks() -> None:
        await inbox.empty(till)

    async def recover() -> None:
        await recovery.recover(till)

    async def reconcile() -> None:
        await reconciliation.due(till)

    async def managed() -> None:
        await managing.steer(till)

    return {
        "webhooks": (INBOX_SECONDS, webhooks),
        "payments": (RECOVERY_SECONDS, recover),
        "managed subscriptions": (MANAGED_SECONDS, managed),
        "reconciliation": (RECONCILIATION_SECONDS, reconcile),
    }
