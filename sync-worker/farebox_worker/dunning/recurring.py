"""What dunning does again and again, with providers that are opened once for all of it."""

from collections.abc import Awaitable, Callable
from typing import Final

from farebox.payments.accounts import Till
from farebox.payments.providers import Providers
from farebox_worker.dunning import passing, trials
from farebox_worker.jobs.outbox_row import Context

DUNNING_SECONDS: Final = 2.0
TRIALS_SECONDS: Final = 60.0


def parts(context: Context, opened: Providers) -> dict[str, tuple[float, Callable[[], Awaitable[None]]]]:
    """Return each part's name, its pause in seconds, and what it does."""
    till = Till(context.database, opened, context.clock, context.settings.public_url)

    async def dun() -> None:
        await passing.run(till)

    async def remind_of_trials() -> None:
        await trials.run(context.database, context.clock)

    return {"dunning": (DUNNING_SECONDS, dun), "trials": (TRIALS_SECONDS, remind_of_trials)}
