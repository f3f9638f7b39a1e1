"""A key is rotated with a grace, held to a scope, reported as leaked; and what the node enforces.

All of it with test keys, which are limited and metered like live ones and never billed.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from farebox_cli.demo.opening import enforced, issue
from farebox_cli.demo.scene import Scene

GRACE_SECONDS: Final = 4
_FOUND_AT: Final = "https://example.com/gist/1"


async def care_for_keys(scene: Scene) -> None:
    """Rotate, restrict and lose a key; then ask the gateway's node what it really holds."""
    scene.narrator.chapter("The life of a key")
    rotated = await _rotate(scene)
    await _hold_to_a_scope(scene)
    await _lose(scene)
    await _ask_the_node(scene)
    await _the_grace_ends(scene, rotated)


@dataclass(frozen=True, slots=True)
class _Rotated:
    """A key that was rotated: its text, its successor's, and when its grace ends."""

    old: str
    new: str
    ends_at: datetime


async def _rotate(scene: Scene) -> _Rotated:
    say = scene.narrator
    old, old_id = await issue(scene, "key to rotate", "test", quiet=True)
    rotated = await scene.api("POST", f"/keys/key_{old_id}/rotate", body={"grace_seconds": GRACE_SECONDS})
    say.require(rotated.status == 201, f"rotated, with a grace of {GRACE_SECONDS} s", found=rotated.body)
    new, replaced = str(rotated.data["key"]), rotated.data["replaced"]
    await enforced(scene, rotated.data["id"])
    statuses = [(await scene.send(key=key, quiet=True)).status for key in (old, new)]
    say.check(statuses == [200, 200], "in the grace the old key and its successor both pass", found=statuses)
    return _Rotated(old, new, datetime.fromisoformat(replaced["expires_at"]))


async def _hold_to_a_scope(scene: Scene) -> None:
    say = scene.narrator
    reader, _ = await issue(scene, "key that may only read", "test", scopes=["GET messages"])
    reply = await scene.send(key=reader)
    say.check(
        reply.status == 403 and reply.code == "api_key_not_allowed",
        "403 api_key_not_allowed: a key whose scope is `GET messages` may not POST",
        found=(reply.status, reply.code),
    )
    read = await scene.caller.ask(
        "GET", f"{scene.stack.addresses.gateway}/v1/messages/msg_1", key=reader, quiet=True
    )
    say.check(
        read.status not in {401, 403}, f"and may GET: the sample API answered {read.status}", found=read.body
    )


async def _lose(scene: Scene) -> None:
    say = scene.narrator
    leaked, leaked_id = await issue(scene, "key that leaks", "test", quiet=True)
    say.say("Somebody finds that key on the web and reports it, without an account here.")
    url = f"{scene.stack.addresses.web}/api/v1/keys/report-leak"
    reported = await scene.caller.ask("POST", url, body={"key": leaked, "found_at": _FOUND_AT})
    refused = await scene.until_refused(leaked)
    say.check(
        reported.status == 202, f"taken back for everybody {refused * 1000:.0f} ms later", found=reported
    )
    unknown = await scene.caller.ask("POST", url, body={"key": f"{leaked[:-1]}~"}, quiet=True)
    say.check(
        (unknown.status, unknown.body) == (reported.status, reported.body),
        "whoever reports the text of no key at all is answered the same",
        found=unknown.body,
    )
    letter = await scene.mail("leaked API key")
    say.check(
        leaked[-4:] in letter and _FOUND_AT in letter and leaked not in letter,
        f"its owner is told which key it was (…{leaked[-4:]}) and where it was seen",
        found=letter,
    )
    shown = await scene.api("GET", f"/keys/key_{leaked_id}", quiet=True)
    say.check(shown.data["state"] in {"revoking", "revoked"}, "it stays revoked", found=shown.data)


async def _the_grace_ends(scene: Scene, rotated: _Rotated) -> None:
    left = (rotated.ends_at - datetime.now(UTC)).total_seconds()
    scene.narrator.say(f"The grace of the rotated key ends in {max(left, 0):.1f} s.")
    await asyncio.sleep(max(left, 0))
    late = await scene.until_refused(rotated.old)
    successor = (await scene.send(key=rotated.new, quiet=True)).status
    scene.narrator.check(
        successor == 200,
        f"it was refused {late * 1000:.0f} ms after that, and its successor passes",
        found=successor,
    )


async def _ask_the_node(scene: Scene) -> None:
    """Compare what each worker of the node holds with what was sold."""
    say = scene.narrator
    say.command(("farebox", "drift"))
    status, out, err = await scene.attempt("drift", "--json")
    nodes = json.loads(out)["nodes"] if status in {0, 1} else {}
    for code, node in nodes.items():
        say.say(f"node {code}: drift {node['drift'] or 'none'}, {node['waiting']} changes on their way")
    say.check(
        status == 0 and bool(nodes), "every worker of the node enforces what was sold, and nothing else",
        found=out or err,
    )  # fmt: skip
