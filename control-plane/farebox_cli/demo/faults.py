"""Processes are killed while requests flow, and nothing is lost or doubled."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Final

from farebox_cli.demo.caller import Crowd
from farebox_cli.demo.opening import total_requests, upgrade, usage_path
from farebox_cli.demo.scene import Scene

_VICTIMS: Final = ("edge", "worker", "collect")
_PLAN: Final = {
    "code": "demo-wide",
    "name": "Demo without a narrow limit",
    "currency": "USD",
    "charges": [{"code": "base", "model": "flat", "description": "Demo plan", "amount": "0"}],
    "limits": [{"name": "minute", "requests": 100_000, "window": 60}],
    "quota": None,
}


async def kill_things(scene: Scene) -> None:
    """Kill the gateway, the worker and the collector with SIGKILL under load; count both sides."""
    say, account = scene.narrator, scene.account
    say.chapter("kill -9 while requests flow")
    plan = scene.folder / "demo-wide.json"
    plan.write_text(json.dumps(_PLAN, indent=1))
    await scene.command("plan", "publish", str(plan))
    await upgrade(scene, "demo-wide", limit="100000")

    crowd = Crowd(f"{scene.stack.addresses.gateway}/v1/messages", account.key)
    flowing = asyncio.create_task(crowd.flow(width=8, pause=0.02))
    for victim in _VICTIMS:
        await asyncio.sleep(1.0)
        await scene.stack.kill(victim)
        say.say(f"kill -9 {victim}; {len(crowd.answered):,} requests answered so far")
        await scene.stack.back(victim)
        say.say(f"{victim} is back")
    await asyncio.sleep(1.0)
    crowd.stop()
    await flowing

    lines = Counter(_crowd_names(Path(scene.stack.addresses.usage_log)))
    lost = [name for name in crowd.answered if lines[name] == 0]
    doubled = [name for name, count in lines.items() if count > 1]
    say.table(
        ("counted by", "what", "number"),
        (
            ("the client", "requests answered whole", f"{len(crowd.answered):,}"),
            ("the client", "requests whose connection broke", f"{len(crowd.broken):,}"),
            ("the usage log", "lines of these requests", f"{sum(lines.values()):,}"),
        ),
    )
    say.check(not lost, "every answered request has its line", found=lost[:5])
    say.check(not doubled, "no request has two", found=doubled[:5])
    say.check(
        set(lines) <= set(crowd.answered) | crowd.broken,
        "the log holds no request that the client did not make",
    )

    expected = _all_lines(scene)

    async def metered() -> bool:
        return await _metered(scene) >= expected

    seconds = await scene.until(metered, seconds=30, what="metering of everything")
    found = await _metered(scene)
    say.check(
        found == expected,
        f"metered: {found:,} = every line of this organization, {seconds:.1f} s after the last request",
        found=found,
    )


def _crowd_names(log: Path) -> list[str]:
    paths = (json.loads(line)["path"] for line in log.read_bytes().splitlines())
    return [path.rpartition("/")[2] for path in paths if "/crowd-" in path]


def _all_lines(scene: Scene) -> int:
    """Count the organization's lines in all logs, the made-up ones included."""
    mark = f'"org":"{scene.account.organization.removeprefix("org_")}"'.encode()
    logs = [Path(scene.stack.addresses.usage_log), *scene.folder.glob("made-up-week-*.log")]
    return sum(mark in line for log in logs for line in log.read_bytes().splitlines())


async def _metered(scene: Scene) -> int:
    reply = await scene.api("GET", usage_path(), quiet=True)
    return total_requests(reply.data)
