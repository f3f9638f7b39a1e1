"""kill -9 between the charge and its record: the money is found, and nobody is charged twice."""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import timedelta

from tests.integration.payments.house import House

from farebox import ids
from farebox.settings import Settings
from farebox_worker.payments import recovery


def environment(settings: Settings) -> Mapping[str, str]:
    """What the command needs, and nothing of this machine's own."""
    names = ("database_worker_url", "redis_url", "stripe_secret_key", "stripe_api_url")
    values = {name: getattr(settings, name) for name in names}
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("FAREBOX_")},
        **{
            f"FAREBOX_{name.upper()}": value if isinstance(value, str) else value.get_secret_value()
            for name, value in values.items()
        },
    }


async def test_a_command_killed_after_the_charge_loses_nothing(house: House) -> None:
    """The provider has charged and answers slowly; the command is killed; recovery records the one charge."""
    await house.card()
    invoice = await house.invoice(4299)
    await house.fault("slow_answer", "/v1/payment_intents", seconds=30)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "farebox_cli", "payment", "collect", ids.encode("inv", invoice),
        env=environment(house.settings), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not await house.charged():
            assert process.returncode is None
            await asyncio.sleep(0.05)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert await house.owed(invoice) == ("finalized", 4299)
    assert (await house.one("SELECT state FROM payments"))["state"] == "created"
    house.clock.advance(timedelta(minutes=10))
    assert await recovery.recover(house.till) == 1
    assert await house.charged() == [4299]
    assert await house.owed(invoice) == ("paid", 0)
