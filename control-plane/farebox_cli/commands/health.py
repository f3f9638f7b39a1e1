"""`farebox health`: what a container's health check asks. One question, one exit code, quick.

Not `farebox doctor`, which looks at a whole installation and explains: a supervisor needs to know whether one
process does its work.
"""

import asyncio
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError
from farebox_cli.output import say
from farebox_cli.worker_database import in_one_transaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

pass_settings = click.make_pass_decorator(Settings)
SILENCE: Final = timedelta(seconds=30)
"""A collector reports every few seconds; one that is silent for longer does not read."""
_TIMEOUT: Final = 5.0


@click.group
def health() -> None:
    """Whether one process does its work: for health checks of containers."""


@health.command("web")
@pass_settings
def web(settings: Settings) -> None:
    """Ask the web process on this machine whether it is ready."""
    url = f"http://127.0.0.1:{settings.web_port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT):
            say("ready")
    except urllib.error.HTTPError as error:
        raise CommandError(f"{url} answers {error.code}.") from None
    except OSError as error:
        raise CommandError(f"{url} does not answer: {error}.") from None


@health.command("worker")
@pass_settings
def worker(settings: Settings) -> None:
    """See whether some worker holds the lock of recurring work, as one of all always does."""
    from farebox_worker.advisory import is_held
    from farebox_worker.jobs.recurring import LOCK

    held = asyncio.run(is_held(settings.database_worker_url.get_secret_value(), LOCK))
    if not held:
        raise CommandError("No worker holds the lock of recurring work; look into the worker's log.")
    say("at work")


@health.command("collect")
@pass_settings
def collect(settings: Settings) -> None:
    """See whether the collector of FAREBOX_NODE has reported within the last half minute."""

    async def act(session: "AsyncSession") -> str:
        from farebox.usage.nodes import nodes

        now = datetime.now(UTC)
        for node in await nodes(session):
            if node.code == settings.node:
                if node.reported_at is None or now - node.reported_at > SILENCE:
                    raise CommandError(f"The collector of {node.code} is silent since {node.reported_at}.")
                if node.last_error is not None:
                    raise CommandError(f"The collector of {node.code} cannot read on: {node.last_error}")
                return node.code
        raise CommandError(f"No collector has ever reported for {settings.node}.")

    say(f"{in_one_transaction(settings, act)} is read")
