"""Several gateways on one Redis, which know the same organization, and requests to them in turn."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from tests.gateway.harness import Admin, Upstream, running_edge
from tests.plugins.accounts import Account, open_account


async def give_plan(accounts: list[Account], conf: dict[str, Any], periods: list[dict[str, int]]) -> None:
    """Give all (the same organization at several nodes) one plan."""
    for account in accounts:
        await account.admin.put("/consumer_groups/plan", {"plugins": {"farebox-limit": conf}})
        await account.put_consumer(
            group="plan", farebox_limit={"subscription": account.organization, "periods": periods}
        )


@contextlib.asynccontextmanager
async def running_nodes(
    count: int, folder: Path, redis_url: str, client: ClientSession, upstream: Upstream, **settings: str
) -> AsyncIterator[list[Account]]:
    """Run gateways that know the same organization and key."""
    async with contextlib.AsyncExitStack() as stack:
        accounts: list[Account] = []
        for number in range(count):
            gateway = await stack.enter_async_context(
                running_edge(
                    folder / f"node{number}",
                    NODE=f"n{number}",
                    COUNTERS="redis",
                    REDIS_URL=redis_url,
                    **{"REDIS_TIMEOUT": "2", **settings},
                )
            )
            account = await open_account(Admin(gateway, client), upstream)
            if accounts:
                account.organization, account.key = accounts[0].organization, accounts[0].key
                await account.put_consumer()
                await account.put_key(account.key)
            accounts.append(account)
        yield accounts


async def drive(accounts: list[Account], requests: int, *, concurrency: int = 8) -> Counter[int]:
    """Send requests to the nodes in turn, several at a time, and count the statuses."""
    statuses: Counter[int] = Counter()
    todo = iter(range(requests))

    async def run() -> None:
        for number in todo:
            statuses[(await accounts[number % len(accounts)].get()).status] += 1

    await asyncio.gather(*(run() for _ in range(concurrency)))
    return statuses
