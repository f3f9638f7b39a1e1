"""Random volumes and outcomes: the invoice is what a recount of the raw lines says, whatever the numbers."""

import random
import time
from decimal import Decimal
from pathlib import Path

import pytest
from tests.scenarios.recount import recount
from tests.scenarios.stage import close_period, put_on_plan, stage

from farebox_cli.demo.traffic import GeneratedNode, Mix

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", [7, 20261])
async def test_the_invoice_is_what_a_recount_of_the_raw_lines_says(tmp_path: Path, seed: int) -> None:
    """Base, included units and price are drawn from the seed, as are the requests, real and generated."""
    draw = random.Random(seed)
    included, base = draw.randint(0, 900), Decimal(draw.randint(0, 5000)) / 100
    price = Decimal(draw.randint(1, 99_999)) / 1_000_000
    charges = [
        {"code": "base", "model": "flat", "description": "Base", "amount": str(base)},
        {
            "code": "requests", "model": "per_unit", "description": "Requests",
            "included": str(included), "unit_price": str(price),
        },
    ]  # fmt: skip
    async with stage(tmp_path) as scene:
        account = scene.account
        await put_on_plan(scene, "drawn", charges)
        for _ in range(draw.randint(20, 60)):
            key = draw.choice([account.key, account.key, account.test_key, None, account.key[:-1] + "x"])
            to = draw.choice(["+15550100", "+15550100", "status:404", "status:500", "status:503"])
            url = f"{scene.stack.addresses.gateway}/v1/messages/send"
            await scene.caller.ask("POST", url, key=key, body={"to": to, "text": "x"}, quiet=True)
        names = await scene.names()
        node = GeneratedNode("gw-drawn", f"{draw.getrandbits(40):010x}", draw)
        now = time.time_ns() // 1_000_000
        mix = Mix(*(draw.randint(0, 700) for _ in range(5)))
        generated = scene.folder / "generated.log"
        node.write(generated, names, mix, first_ms=now - 200, last_ms=now)
        await scene.command("collect", "--once", str(generated))
        invoice = await close_period(scene)
        logs = [Path(scene.stack.addresses.usage_log), generated]
        units = recount(logs, names.organization, names.subscription)

    assert units > 0
    overage = (max(units - included, 0) * price).quantize(Decimal("0.01"))
    assert invoice["basis"]["billable"]["units"] == units
    assert invoice["total"]["minor"] == int((base + overage) * 100)
