"""A running payments sandbox for each test, the real SDK pointed at it, and a receiver for its webhooks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from stripe import AIOHTTPClient, StripeClient

from farebox.sandbox.app import Options, Sandbox, running

Control = Callable[..., Awaitable[Any]]


@dataclass
class Receiver:
    """Takes webhooks and answers with the next of `answers`, then with 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: asyncio.Queue[tuple[bytes, dict[str, str]]] = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        await self.got.put((await request.read(), dict(request.headers)))
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def next(self) -> tuple[bytes, dict[str, str]]:
        async with asyncio.timeout(20):
            return await self.got.get()


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Somebody who listens for webhooks."""
    made, app = Receiver(), web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def sandbox(tmp_path: Path, receiver: Receiver) -> AsyncIterator[Sandbox]:
    """A sandbox with both webhooks going to the receiver."""
    options = Options(
        tmp_path / "sandbox",
        stripe_webhook_url=receiver.url,
        paystack_webhook_url=receiver.url,
        seed="test",
        first_pause=0.01,
    )
    async with running(options) as started:
        yield started


@pytest_asyncio.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    """A session at the sandbox's address that carries its secret key."""
    headers = {"Authorization": f"Bearer {sandbox.keys.stripe_secret_key}"}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        yield session


@pytest_asyncio.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[StripeClient]:
    """The real SDK. It retries nothing by itself, so that tests see each answer."""
    async with aiohttp.ClientSession() as session:
        yield StripeClient(
            sandbox.keys.stripe_secret_key,
            base_addresses={"api": sandbox.url},
            http_client=AIOHTTPClient(session=session),
            max_network_retries=0,
        )


@pytest.fixture
def control(http: aiohttp.ClientSession) -> Control:
    """Pull one of the sandbox's levers."""

    async def pull(lever: str, /, **given: Any) -> Any:
        async with http.post(f"/sandbox/{lever}", json=given) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    return pull
