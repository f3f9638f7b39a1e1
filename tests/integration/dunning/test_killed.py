"""kill -9 between a retry's charge and its record: the customer is charged once and gets the case closed."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta

from tests.integration.dunning.debts import Debts
from tests.integration.payments.test_killed import environment

from farebox_worker.payments import recovery

PASS = """
import asyncio
import farebox.tables
from farebox.clock import SystemClock
from farebox.db import Database
from farebox.payments import providers
from farebox.payments.accounts import Till
from farebox.settings import Settings
from farebox_worker.dunning import passing

async def main():
    settings = Settings(_env_file=None)
    database = Database(settings.database_worker_url.get_secret_value(), pool_size=2)
    async with providers.opened(settings) as opened:
        await passing.run(Till(database, opened, SystemClock(), settings.public_url))
    await database.close()

asyncio.run(main())
"""


def variables(debts: Debts) -> Mapping[str, str]:
    """The pass's environment: the provider may take as long as it likes."""
    return {**environment(debts.house.settings), "FAREBOX_PAYMENT_TIMEOUT_SECONDS": "60"}


async def one_pass(debts: Debts) -> asyncio.subprocess.Process:
    """Start a pass in a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PASS, env=variables(debts), stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def test_a_retry_that_was_killed_after_the_charge_charges_once(debts: Debts) -> None:
    """The step is found begun, asks with its own key, and waits for what recovery learns of the provider."""
    house = debts.house
    await house.card()
    invoice = await debts.issue(4299, terms=0)
    await house.fault("slow_answer", "/v1/payment_intents", seconds=30)
    process = await one_pass(debts)
    try:
        while not await house.charged():
            assert process.returncode is None
            await asyncio.sleep(0.05)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert await debts.steps(invoice) == [("charge", 1, "begun")]
    assert await house.owed(invoice) == ("overdue", 4299)
    house.clock.advance(timedelta(minutes=2))
    await debts.run()
    assert await house.charged() == [4299]
    house.clock.advance(timedelta(minutes=10))
    await recovery.recover(house.till)
    house.clock.advance(timedelta(minutes=2))
    await debts.run()
    assert await house.charged() == [4299]
    assert await house.owed(invoice) == ("paid", 0)
    assert await debts.state() == "active"
    assert (await debts.case(invoice))["state"] == "resolved"


async def test_two_passes_at_once_do_every_step_once(debts: Debts) -> None:
    """Two workers that both believe in the lock: one charge, one letter, one transition."""
    house = debts.house
    await house.card("chargeCustomerFail")
    invoice = await debts.issue(1000, terms=0)
    house.clock.advance(timedelta(days=1))
    await asyncio.gather(*(debts.run() for _ in range(4)))
    assert await debts.steps(invoice) == [("charge", 1, "done"), ("remind", 1, "done")]
    assert await house.announced("payment.failed") == 1
    assert await house.announced("invoice.overdue") == 1
    assert await debts.transitions() == [("mark past due", "system dunning")]
