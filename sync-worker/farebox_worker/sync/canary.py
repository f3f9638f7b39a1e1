"""Whether what was pushed is what the data plane does: an accepted write is not an enforced one.

The canary is a route of ours with authentication and nothing behind it. Asked without a key, a gateway that
follows its configuration and runs our plugin refuses with `missing_api_key`. The request costs one usage line
that names no organization.
"""

import asyncio
from typing import Final

import aiohttp

from farebox_contract.problems import MISSING_KEY
from farebox_worker.translate import CANARY_PATH

PATIENCE: Final = 3.0
_PAUSE: Final = 0.05


async def probe(session: aiohttp.ClientSession, data_url: str, nonce: str) -> str | None:
    """Ask until the data plane enforces the canary with this nonce; None if it does, else what it did.

    Gives up after three seconds: a gateway follows its configuration within milliseconds.
    """
    url = data_url.rstrip("/") + CANARY_PATH + nonce
    said = "it did not answer in time"
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with session.get(url, allow_redirects=False) as response:
                        body = await response.content.read(4096)
                    if response.status == 401 and MISSING_KEY.encode() in body:
                        return None
                    said = f"it answered {response.status} where 401 {MISSING_KEY} is due"
                except aiohttp.ClientError as error:
                    said = f"it cannot be reached: {type(error).__name__}"
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        return f"the data plane at {data_url} does not do what was pushed: {said}"
