"""All checks in one order: the machine, the servers, what the database knows, gateways, money."""

from collections.abc import AsyncIterator
from pathlib import Path

from farebox.settings import Settings
from farebox_cli.doctor import machine, services
from farebox_cli.doctor.database import examine_database
from farebox_cli.doctor.findings import Finding
from farebox_cli.doctor.gateways import examine_gateways
from farebox_cli.doctor.money import examine_money
from farebox_cli.stack.state import read_state


async def examine(settings: Settings, home: Path) -> AsyncIterator[Finding]:
    """Every finding, as it is made."""
    state = read_state(home)
    yield machine.python()
    ours = home / "postgres", home / "redis"
    for finding in machine.programs(
        needs_postgres=not settings.database_url.get_secret_value() or ours[0].exists(),
        needs_redis=not settings.redis_url.get_secret_value() or ours[1].exists(),
    ):
        yield finding
    yield machine.home(home)
    for finding in machine.ports(settings, state):
        yield finding
    yield machine.disk(settings)
    yield await services.redis(settings)
    async for finding in examine_database(settings):
        yield finding
    async for finding in examine_gateways(settings):
        yield finding
    yield await services.answers(
        "control plane",
        f"{settings.public_url.rstrip('/')}/healthz",
        remedy="Is `farebox web` running? Check FAREBOX_PUBLIC_URL.",
    )
    async for finding in examine_money(settings):
        yield finding
