"""A running installation and an account in it, for scenarios: the demo's own scene, told to nobody."""

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from farebox_cli.demo import month as demo_month
from farebox_cli.demo.caller import Caller
from farebox_cli.demo.narration import Narrator
from farebox_cli.demo.opening import issue, sign_up, upgrade
from farebox_cli.demo.scene import Scene
from farebox_cli.demo.story import VARIABLES
from farebox_cli.stack import StackOptions, running_stack


def silent() -> Narrator:
    """A narrator that keeps what it says to itself."""
    return Narrator(Console(file=io.StringIO(), highlight=False, soft_wrap=True, width=200))


@asynccontextmanager
async def stage(folder: Path, **variables: str) -> AsyncIterator[Scene]:
    """Run everything on free ports in `folder`, with an owner logged in and with two keys."""
    options = StackOptions(home=folder / "home", ports="free", variables={**VARIABLES, **variables})
    async with running_stack(options) as stack, Caller(silent()) as caller:
        work = folder / "work"
        work.mkdir()
        scene = Scene(stack, silent(), caller, work)
        await sign_up(scene)
        account = scene.account
        account.key, account.key_id = await issue(scene, "live", "live")
        account.test_key, account.test_key_id = await issue(scene, "test", "test")
        yield scene


async def put_on_plan(
    scene: Scene, code: str, charges: list[dict[str, Any]], *, limit: int = 1_000_000
) -> None:
    """Publish a plan of these charges and put the organization on it, enforced at the gateway."""
    plan = {
        "code": code, "name": code, "currency": "USD", "charges": charges, "quota": None,
        "limits": [{"name": "minute", "requests": limit, "window": 60}],
    }  # fmt: skip
    path = scene.folder / f"{code}.json"
    path.write_text(json.dumps(plan))
    await scene.command("plan", "publish", str(path))
    await upgrade(scene, code, limit=str(limit))


async def close_period(scene: Scene) -> Mapping[str, Any]:
    """Move the organization past the end of its running period and return that period's invoice, exported."""
    current = (await scene.api("GET", "/billing/current")).data
    await scene.command("clock", "enable", scene.account.organization)
    await demo_month.advance(scene, datetime.fromisoformat(current["period_end"]) + timedelta(minutes=1))
    found, _ = await demo_month.close_period(scene, current["period_start"])
    return dict((await scene.api("GET", f"/billing/invoices/{found['id']}")).data)
