"""Redis, and whatever speaks HTTP: do they answer, and to us?"""

import asyncio
from typing import Final

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from farebox.settings import Settings
from farebox_cli.doctor.findings import Finding, good, one_line, wrong

PATIENCE: Final = aiohttp.ClientTimeout(total=5.0)
_LEAST_REDIS: Final = (6, 2)


async def redis(settings: Settings) -> Finding:
    """Reachable with our password, and new enough."""
    url = settings.redis_url.get_secret_value()
    if not url:
        return wrong(
            "redis", "FAREBOX_REDIS_URL is not set", "Run `farebox up`, or export it for a Redis of your own."
        )
    try:
        async with asyncio.timeout(5.0), Redis.from_url(url, socket_timeout=5.0) as client:
            version = (await client.info("server"))["redis_version"]
    except AuthenticationError as error:
        return wrong("redis", one_line(error), "Check the password in FAREBOX_REDIS_URL.")
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        return wrong(
            "redis", f"cannot be used: {one_line(error)}", "Is Redis running? Check FAREBOX_REDIS_URL."
        )
    if tuple(int(part) for part in version.split(".")[:2]) < _LEAST_REDIS:
        return wrong("redis", f"Redis {version}", "Farebox needs Redis 6.2 or later.")
    return good("redis", f"Redis {version}")


async def answers(what: str, url: str, *, remedy: str) -> Finding:
    """Somebody speaks HTTP there; which status does not matter here."""
    try:
        async with aiohttp.ClientSession(timeout=PATIENCE) as client, client.get(url) as answer:
            return good(what, f"{url} answers ({answer.status})")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return wrong(what, f"{url} cannot be reached: {one_line(error)}", remedy)
