"""The story in order, and how it ends: on a terminal everything stays up, elsewhere it stops."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from farebox_cli.demo.caller import Caller
from farebox_cli.demo.faults import kill_things
from farebox_cli.demo.key_care import care_for_keys
from farebox_cli.demo.month import a_month, proof
from farebox_cli.demo.narration import Narrator, StoryFailedError
from farebox_cli.demo.opening import first_calls, limits, sign_up, usage
from farebox_cli.demo.paying import add_a_card, paid_by_itself
from farebox_cli.demo.scene import EMAIL, PASSWORD, Scene
from farebox_cli.demo.unpaid import declined_and_back
from farebox_cli.stack import StackOptions, running_stack

VARIABLES: Final = {"FAREBOX_BILLING_GRACE_SECONDS": "1", "FAREBOX_BILLING_INTERVAL_SECONDS": "0.5"}
"""Settings of a story: nobody wants to wait for the caution of a real month."""


async def tell(home: Path, *, stay: bool, narrator: Narrator | None = None) -> int:
    """Run the whole story in a new installation at `home`; return the exit status, 0 if everything held.

    With `stay` everything keeps running afterwards until SIGINT or SIGTERM.
    """
    say = narrator or Narrator()
    folder = home / "story"
    say.say(f"Starting servers, stand-ins, control plane, worker, collector and gateway in {home} …")
    async with running_stack(StackOptions(home=home, variables=VARIABLES)) as stack, Caller(say) as caller:
        folder.mkdir(exist_ok=True)
        scene = Scene(stack, say, caller, folder)
        try:
            await sign_up(scene)
            await first_calls(scene)
            await limits(scene)
            await usage(scene)
            await care_for_keys(scene)
            await add_a_card(scene)
            issued = await a_month(scene)
            await paid_by_itself(scene, issued)
            await proof(scene, issued.number)
            await declined_and_back(scene)
            await kill_things(scene)
        except StoryFailedError as failure:
            say.failures.append(str(failure))
        _close(scene)
        if stay and not say.failures:
            say.say("Everything stays up; stop it with Ctrl-C.")
            await _until_told_to_stop()
    return 1 if say.failures else 0


def _close(scene: Scene) -> None:
    say, where = scene.narrator, scene.stack.addresses
    say.chapter("Where everything is")
    say.table(
        ("what", "where"),
        (
            ("control plane", where.web),
            ("API reference", f"{where.web}/api/docs"),
            ("gateway", where.gateway),
            ("payments sandbox", where.payments),
            ("mails", where.mail_folder),
            ("usage log", where.usage_log),
            ("log-in", f"{EMAIL} / {PASSWORD}"),
        ),
    )
    say.say("Try it yourself:")
    say.say(
        f"curl -i -X POST {where.gateway}/v1/messages/send -H 'X-API-Key: {scene.account.key}' "
        '-H \'Content-Type: application/json\' -d \'{"to": "+15550100", "text": "hello"}\''
    )
    if say.failures:
        print(f"\n{len(say.failures)} of {say.checks} checks did not hold:", file=sys.stderr)
        for failure in say.failures:
            print(f"  ✗ {failure}", file=sys.stderr)
    else:
        say.say(f"All {say.checks} checks held.")


async def _until_told_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
