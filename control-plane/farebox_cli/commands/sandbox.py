"""`farebox sandbox`: the stand-ins for the outside world, each alone. `farebox up` starts them for you."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import click

from farebox_cli.output import say


@click.group
def sandbox() -> None:
    """Stand-ins for the outside world on one machine: an API to sell, a mail server, Stripe and Paystack.

    They are for trying Farebox out. None of them belongs on a machine that the world can reach.
    """


@sandbox.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--identity-secrets",
    default="",
    envvar="FAREBOX_IDENTITY_SECRETS",
    help="The gateway's identity secrets, better in FAREBOX_IDENTITY_SECRETS: answer only what it signed.",
)
def upstream(*, host: str, port: int, identity_secrets: str) -> None:
    """The sample API: POST /v1/messages/send and GET /v1/messages/{id}."""
    from farebox_contract.identity import read_secrets

    try:
        secrets = read_secrets(identity_secrets)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--identity-secrets") from None
    asyncio.run(_serve(lambda: _upstream(host, port, secrets), "The sample API listens at http://{}:{}"))


@sandbox.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=1025, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where each mail becomes a file.",
)
def mail(*, host: str, port: int, folder: Path) -> None:
    """A mail server that delivers every mail into a folder and relays nothing."""
    from farebox.sandbox.mail import mail_sink

    @asynccontextmanager
    async def running() -> AsyncIterator[tuple[str, int]]:
        async with mail_sink(folder, host=host, port=port) as bound:
            yield host, bound

    asyncio.run(_serve(running, "The mail sink listens at smtp://{}:{}"))


@sandbox.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8095, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where keys and state are kept.",
)
@click.option("--base-url", default="", help="How browsers reach it, where that is not http://HOST:PORT.")
@click.option("--stripe-webhook-url", default="", help="Where Stripe's signed events go.")
@click.option("--paystack-webhook-url", default="", help="Where Paystack's signed events go.")
@click.option("--seed", default=None, help="The same seed and the same calls give the same ids.")
def payments(
    *,
    host: str,
    port: int,
    folder: Path,
    base_url: str,
    stripe_webhook_url: str,
    paystack_webhook_url: str,
    seed: str | None,
) -> None:
    """Strict stand-ins for Stripe and Paystack, with their hosted pages, webhooks and faults to order."""
    from farebox.sandbox.app import Options, running

    options = Options(
        folder=folder,
        host=host,
        port=port,
        base_url=base_url,
        stripe_webhook_url=stripe_webhook_url,
        paystack_webhook_url=paystack_webhook_url,
        seed=seed,
    )

    @asynccontextmanager
    async def serving() -> AsyncIterator[tuple[str, int]]:
        try:
            async with running(options) as started:
                yield host, started.port
        except (OSError, ValueError) as error:
            raise click.ClickException(f"The payments sandbox cannot start: {error}") from error

    asyncio.run(_serve(serving, "The payments sandbox listens at http://{}:{}"))


@asynccontextmanager
async def _upstream(host: str, port: int, secrets: Sequence[bytes]) -> AsyncIterator[tuple[str, int]]:
    from aiohttp import web

    from farebox.sandbox.upstream import create_app

    runner = web.AppRunner(create_app(identity_secrets=secrets), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield host, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _serve(running: Callable[[], AbstractAsyncContextManager[tuple[str, int]]], listening: str) -> None:
    """Run a server until SIGINT or SIGTERM, saying where it listens."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    async with running() as (host, port):
        say(listening.format(host, port))
        await stop.wait()
