"""Puts the sandbox together: one address for Stripe, Paystack, their pages and the controls."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from farebox.sandbox import keys
from farebox.sandbox.control import Control
from farebox.sandbox.deliveries import Sender
from farebox.sandbox.paystack.server import PaystackServer
from farebox.sandbox.store import Store
from farebox.sandbox.stripe import passing_time
from farebox.sandbox.stripe.checkout_pages import CheckoutPages
from farebox.sandbox.stripe.pages import StripePages
from farebox.sandbox.stripe.server import API_VERSION, StripeServer
from farebox.sandbox.world import World

MAX_BODY_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """How to run it. The two URLs are where webhooks go; "" sends none. `seed` makes ids repeatable.

    `first_pause` is the wait after a webhook that was not taken; each further one is twice as long.
    `machine_clock` tells the seconds since 1970.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    base_url: str = ""
    stripe_webhook_url: str = ""
    paystack_webhook_url: str = ""
    seed: str | None = None
    first_pause: float = 1.0
    machine_clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running one."""

    url: str
    port: int
    keys: keys.Keys
    world: World


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[Sandbox]:
    """Serve for the length of the block. Raises OSError where the port is taken."""
    made, store = keys.kept_or_made(options.folder), Store(options.folder, seed=options.seed)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    # The port is known only once we listen, and addresses of pages stand in answers: so listen first.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    listener = await asyncio.get_running_loop().create_server(asyncio.Protocol, options.host, options.port)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    url = options.base_url or f"http://{options.host}:{port}"
    world = World(store, made, url, API_VERSION, options.machine_clock)
    _configure_endpoint(world, options.stripe_webhook_url)
    store.set_note("paystack_webhook_url", options.paystack_webhook_url)
    async with aiohttp.ClientSession() as session:
        sender = Sender(world, session, options.first_pause)
        app.router.add_routes(StripePages(world).routes())
        app.router.add_routes(CheckoutPages(world).routes())
        app.router.add_routes(Control(world, sender).routes())
        app.router.add_routes(PaystackServer(world).routes())
        app.router.add_route("*", "/v1/{rest:.*}", StripeServer(world).handle)
        await runner.setup()
        work = [
            asyncio.create_task(sender.run(), name="sandbox webhooks"),
            asyncio.create_task(_as_time_passes(world), name="sandbox time"),
        ]
        try:
            await web.TCPSite(runner, options.host, port, reuse_address=True).start()
            yield Sandbox(url, port, made, world)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await runner.cleanup()
            store.close()


async def _as_time_passes(world: World) -> None:
    while True:
        passing_time.catch_up(world)
        await asyncio.sleep(passing_time.EVERY_SECONDS)


def _configure_endpoint(world: World, url: str) -> None:
    """The endpoint given at the start, as if it had been entered in Stripe's dashboard."""
    with world.store.transaction():
        world.store.remove("webhook_endpoint", "we_configured")
        if url:
            world.store.put(
                "webhook_endpoint",
                {
                    "id": "we_configured",
                    "object": "webhook_endpoint",
                    "created": world.now(),
                    "livemode": False,
                    "api_version": API_VERSION,
                    "application": None,
                    "description": "Configured at the start",
                    "enabled_events": ["*"],
                    "metadata": {},
                    "status": "enabled",
                    "url": url,
                    "_secret": world.keys.stripe_webhook_secret,
                    "_configured": True,
                },
            )
