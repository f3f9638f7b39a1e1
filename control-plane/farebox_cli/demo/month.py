"""A month passes, the invoice, and its proof."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from farebox_cli.demo.scene import Scene
from farebox_cli.demo.traffic import GeneratedNode, Mix

BILLABLE: Final = 15_000
EXPECTED_TOTAL_MINOR: Final = 6_000  # $10.00 + 5,000 x $0.01, worked by hand
_WEEKS: Final = 4
_REAL_CALLS_A_WEEK: Final = 5
_SEED: Final = 20_260_101


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice: the id that the API knows it by, and its number."""

    id: str
    number: str


async def a_month(scene: Scene) -> Issued:
    """Let the starter period pass, close it, and show the invoice."""
    say, account = scene.narrator, scene.account
    say.chapter("A month passes, and its invoice")
    current = (await scene.api("GET", "/billing/current")).data
    start, end = (datetime.fromisoformat(current[edge]) for edge in ("period_start", "period_end"))
    say.say(
        f"The running period ends at {current['period_end']}; a test clock moves this organization there."
    )
    await scene.command("clock", "enable", account.organization)
    names = await scene.names()
    node = GeneratedNode("gw-made-up", f"{random.Random().getrandbits(40):010x}", random.Random(_SEED))
    mixes = _split(BILLABLE - account.billable - _WEEKS * _REAL_CALLS_A_WEEK)
    for week, mix in enumerate(mixes, start=1):
        await advance(scene, start + (end - start) * week / (_WEEKS + 1))
        for _ in range(_REAL_CALLS_A_WEEK):
            account.billable += (await scene.send(key=account.key, quiet=True)).status < 500
        first_ms = time.time_ns() // 1_000_000
        await asyncio.sleep(0.05)
        path = scene.folder / f"made-up-week-{week}.log"
        node.write(path, names, mix, first_ms=first_ms, last_ms=first_ms + 50)
        account.billable += mix.billable
        read = json.loads(await scene.command("collect", "--once", str(path)))
        say.say(
            f"week {week}: {_REAL_CALLS_A_WEEK} real calls, and {mix.lines:,} generated lines: "
            f"{read['new']:,} new, {read['duplicate']} duplicate, {read['quarantined']} quarantined"
        )
    twice = json.loads(await scene.command("collect", "--once", str(path)))
    say.check(twice["new"] == 0, "reading the last of these files again counts nothing twice", found=twice)

    await advance(scene, end + timedelta(minutes=1))
    say.say(
        "Every collector must now have stood at the end of its log, later than the period's end plus grace."
    )
    invoice, seconds = await close_period(scene, current["period_start"])
    say.say(f"The worker closed it after {seconds:.1f} s; the invoice, as finance sees it:")
    for line in (await scene.command("invoice", "show", invoice["number"])).splitlines():
        say.say(line)
    say.check(account.billable == BILLABLE, f"this storyteller counted {BILLABLE:,} billable requests")
    say.check(
        invoice["total"]["minor"] == EXPECTED_TOTAL_MINOR,
        "base $10.00 + 5,000 x $0.01 = $60.00",
        found=invoice["total"]["minor"],
    )
    return Issued(invoice["id"], invoice["number"])


async def close_period(scene: Scene, period_start: str) -> tuple[dict[str, Any], float]:
    """Wait until the worker has closed the period that began then and made its invoice.

    Return the invoice as it is listed, and the seconds of waiting.
    """
    found: dict[str, Any] = {}

    async def closed() -> bool:
        listed = (await scene.api("GET", "/billing/history", quiet=True)).data["items"]
        found.update(next((entry for entry in listed if entry["period_start"] == period_start), {}))
        return bool(found)

    return found, await scene.until(closed, seconds=60, what="the period's closing")


async def proof(scene: Scene, number: str) -> None:
    """Export the invoice with its proof, derive it again from raw lines, then change one line."""
    say = scene.narrator
    say.chapter("The proof: from raw lines to the cent, with no database")
    exported = scene.folder / "invoice.json"
    await scene.command("invoice", "show", number, "--proof", "-o", str(exported))
    made_up = sorted(scene.folder.glob("made-up-week-*.log"))
    raw = [Path(scene.stack.addresses.usage_log), *made_up]
    status, told = await _verify(scene, exported, raw)
    for line in told.splitlines():
        say.say(line)
    say.check(status == 0, "derived again by an independent rater, equal to the cent", found=status)

    target = made_up[0]
    original = target.read_bytes()
    one, seven = (b'"outcome":"served","units":%d,' % units for units in (1, 7))
    middle = original.index(one, len(original) // 2)
    changed = original[:middle] + seven + original[middle + len(one) :]
    forged = scene.folder / "forged.log"
    forged.write_bytes(changed)
    say.say("Now one line of one file is changed: 1 unit becomes 7.")
    status, found = await _verify(scene, exported, [raw[0], forged, *made_up[1:]])
    for line in found.splitlines():
        say.say(line)
    say.check(
        status == 1 and "forged.log" in found, "the change is found, and the file is named", found=status
    )
    forged.unlink()


async def advance(scene: Scene, to: datetime) -> None:
    """Move the organization's test clock."""
    instant = to.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await scene.command("clock", "advance", scene.account.organization, "--to", instant)


async def _verify(scene: Scene, exported: Path, raw: Sequence[Path]) -> tuple[int, str]:
    """Return the exit status, 0 for equal and 1 for different, and the verdict in words."""
    arguments = ("verify", str(exported), "--lines", *(str(path) for path in raw))
    scene.narrator.command(("farebox", *arguments))
    status, out, err = await scene.attempt(*arguments)
    return status, out or err


def _split(billable: int) -> list[Mix]:
    """Divide the month's generated lines over the weeks, and mix in what must not be billed."""
    parts = [billable // _WEEKS] * _WEEKS
    parts[-1] += billable - sum(parts)
    return [Mix(billable=part, rate_limited=310, failed=45, unauthorized=120, test=260) for part in parts]
