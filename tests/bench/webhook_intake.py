"""How many webhooks a second reach the durable inbox, and how long a provider waits for its 200.

    python -m tests.bench.webhook_intake [--events 10000] [--connections 16]

Starts a PostgreSQL with its durability on, a Redis and the web application in this process, and posts signed
events to it over HTTP: all of them once, then all of them again, shuffled. At the end every event is in the
inbox once. The client shares the process, so read the figures as a lower bound.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import random
import secrets
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
import uvloop
from aiohttp import web

from farebox import migrations
from farebox.app import make_app
from farebox.settings import Settings
from farebox_cli.servers import embedded_postgres, embedded_redis

SECRET: Final = "whsec_of_the_benchmark"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one round gave."""

    round: str
    events: int
    events_per_second: float
    p50_ms: float
    p99_ms: float
    failures: int


async def main(arguments: argparse.Namespace) -> None:
    """Serve, post twice, count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            embedded_postgres(folder / "pg", settings={"shared_buffers": "128MB"}) as postgres,
            embedded_redis(folder / "redis", appendonly=False) as redis,
        ):
            passwords = {role: secrets.token_hex(8) for role in migrations.ROLES}
            urls = migrations.bootstrap(postgres.superuser_url, database="bench", passwords=passwords)
            migrations.upgrade(urls.owner)
            settings = Settings.model_validate(
                {
                    "database_url": urls.app,
                    "redis_url": redis.url,
                    "token_secret": secrets.token_hex(32),
                    "stripe_webhook_secret": SECRET,
                }
            )
            runner = web.AppRunner(make_app(settings), access_log=None)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1/webhooks/stripe"
                numbers = list(range(arguments.events))
                figures = [await _round("once", url, numbers, arguments.connections)]
                random.Random(4).shuffle(numbers)
                figures.append(await _round("again, shuffled", url, numbers, arguments.connections))
            finally:
                await runner.cleanup()
            connection = await asyncpg.connect(urls.owner)
            kept = await connection.fetchval("SELECT count(*) FROM webhook_events")
            await connection.close()
    for each in figures:
        print(json.dumps(asdict(each)))
    print(f"{kept:,} events in the inbox after {2 * arguments.events:,} deliveries")


async def _round(name: str, url: str, numbers: list[int], connections: int) -> Figures:
    waits: list[float] = []
    failures = 0
    queue = iter(numbers)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:

        async def post() -> None:
            nonlocal failures
            for number in queue:
                body, header = _signed(number)
                began = time.perf_counter()
                headers = {"Stripe-Signature": header, "Content-Type": "application/json"}
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()
                    failures += response.status != 200
                waits.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(connections)))
        took = time.perf_counter() - began
    waits.sort()
    return Figures(
        name, len(waits), round(len(waits) / took, 1), round(waits[len(waits) // 2] * 1000, 2),
        round(waits[len(waits) * 99 // 100] * 1000, 2), failures,
    )  # fmt: skip


def _signed(number: int) -> tuple[bytes, str]:
    intent = {"id": f"pi_{number}", "object": "payment_intent", "amount": 4299, "currency": "usd"}
    event = {"id": f"evt_{number}", "type": "payment_intent.succeeded", "data": {"object": intent}}
    body = json.dumps(event).encode()
    now = int(time.time())
    signed = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return body, f"t={now},v1={signed}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=16)
    uvloop.run(main(parser.parse_args()))
