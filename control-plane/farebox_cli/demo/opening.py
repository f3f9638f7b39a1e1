"""The opening: sign-up, keys, limits and quota, usage."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from farebox_cli.demo.scene import EMAIL, PASSWORD, Scene

QUOTA: Final = 20
_QUOTA_PLAN: Final = {
    "code": "demo-quota",
    "name": "Demo with a quota of 20",
    "currency": "USD",
    "charges": [{"code": "base", "model": "flat", "description": "Demo plan", "amount": "0"}],
    "limits": [{"name": "minute", "requests": 600, "window": 60}],
    "quota": {"units": QUOTA, "kind": "hard"},
}


async def sign_up(scene: Scene) -> None:
    """Register, verify the e-mail, log in."""
    say = scene.narrator
    say.chapter("An organization signs up")
    registered = await scene.api(
        "POST",
        "/auth/register",
        body={"email": EMAIL, "password": PASSWORD, "name": "Ada", "organization_name": "Analytical Engines"},
    )
    say.require(registered.status == 201, "registered", found=registered.body)
    text = await scene.mail("Verify your e-mail")
    token = re.search(r"[?&#]token=([\w-]+)", text) or re.search(r"^\s*([\w-]{32,})\s*$", text, re.MULTILINE)
    say.require(token is not None, "the mail carries a verification token", found=text)
    assert token is not None  # noqa: S101 - for the type checker; `require` has raised otherwise
    verified = await scene.api("POST", "/auth/verify-email", body={"token": token[1]})
    say.require(verified.status == 200, "e-mail verified", found=verified.body)
    logged_in = await scene.api("POST", "/auth/login", body={"email": EMAIL, "password": PASSWORD})
    say.require(logged_in.status == 200, "logged in", found=logged_in.body)
    scene.account.token = logged_in.data["access_token"]
    scene.account.organization = logged_in.data["organization"]["id"]


async def first_calls(scene: Scene) -> None:
    """Issue keys, call through the gateway with and without them, revoke one."""
    say, account = scene.narrator, scene.account
    say.chapter("A key, and calls through the gateway")
    account.key, account.key_id = await issue(scene, "live key", "live")
    account.test_key, account.test_key_id = await issue(scene, "test key", "test", quiet=True)
    doomed, doomed_id = await issue(scene, "key to revoke", "live", quiet=True)

    reply = await scene.send(key=account.key)
    say.check(reply.status == 200, "200 with the key", found=reply.status)
    say.check(
        not any(secret in json.dumps(reply.body) for secret in (account.key, "X-API-Key", "x-api-key")),
        "the upstream saw no key: it shows the headers it received, and the key is not among them",
    )
    say.check("X-RateLimit-Limit" in reply.headers, "the answer carries the limit's headers")

    for what, key in (("without a key", None), ("with a key that is mistyped", account.key[:-1] + "~")):
        reply = await scene.send(key=key)
        say.check(
            reply.status == 401 and reply.code is not None, f"401 {what}: {reply.code}", found=reply.status
        )
    await scene.api("DELETE", f"/keys/key_{doomed_id}", quiet=True)
    seconds = await scene.until_refused(doomed)
    reply = await scene.send(key=doomed)
    say.check(reply.status == 401, f"401 with a revoked key, {seconds * 1000:.0f} ms after it was revoked")


async def limits(scene: Scene) -> None:
    """Run into the minute's limit, into a quota, then upgrade."""
    say, account = scene.narrator, scene.account
    say.chapter("Limits, quota, upgrade")
    say.say("The free plan allows 10 requests a minute; asking until it refuses.")
    for _ in range(25):  # twice the limit and more: the minute may end in between
        reply = await scene.send(key=account.key, quiet=True)
        if reply.status == 429:
            break
    say.response(reply.status, headers={"Retry-After": reply.headers.get("Retry-After", "")}, body=reply.body)
    say.check(
        reply.status == 429 and reply.code == "rate_limit_exceeded" and "Retry-After" in reply.headers,
        "429 rate_limit_exceeded with Retry-After",
        found=(reply.status, reply.code),
    )

    plan = scene.folder / "demo-plan.json"
    plan.write_text(json.dumps(_QUOTA_PLAN, indent=1))
    await scene.command("plan", "publish", str(plan))
    await upgrade(scene, "demo-quota", limit=str(QUOTA))
    statuses = [(await scene.send(key=account.key, quiet=True)).status for _ in range(QUOTA - 1)]
    say.check(
        statuses == [200] * (QUOTA - 1),
        f"requests 2 to {QUOTA} of a quota of {QUOTA} a month pass (the first showed the new limit)",
        found=statuses,
    )
    reply = await scene.send(key=account.key)
    say.check(
        reply.status == 429 and reply.code == "quota_exceeded",
        f"request {QUOTA + 1}: 429 quota_exceeded",
        found=(reply.status, reply.code),
    )

    seconds = await upgrade(scene, "starter", limit="60")
    account.billable += 1
    say.check(
        seconds < 1.0, f"the new plan's limit of 60 a minute held {seconds * 1000:.0f} ms after the upgrade"
    )


async def usage(scene: Scene) -> None:
    """Show usage by key and route, seconds after the calls."""
    say, account = scene.narrator, scene.account
    say.chapter("Usage, seconds after the calls")
    lines = _lines_of(scene)

    async def metered() -> bool:
        reply = await scene.api("GET", usage_path(), quiet=True)
        return bool(total_requests(reply.data) >= lines)

    seconds = await scene.until(metered, seconds=20, what="metering")
    reply = await scene.api("GET", usage_path())
    say.check(
        total_requests(reply.data) == lines,
        f"all {lines} calls with this organization's keys are counted, {seconds:.1f} s after the last",
        found=total_requests(reply.data),
    )
    say.say(f"The same for an operator, by key and by route ({account.organization}):")
    for line in (await scene.command("usage", account.organization)).splitlines():
        say.say(line)


async def issue(
    scene: Scene, name: str, environment: str, *, scopes: Sequence[str] | None = None, quiet: bool = False
) -> tuple[str, str]:
    """Issue a key and wait until the gateways enforce it; return its text and its public id."""
    wanted = {"name": name, "environment": environment} | ({"scopes": [*scopes]} if scopes else {})
    issued = await scene.api("POST", "/keys", body=wanted, quiet=quiet)
    scene.narrator.require(issued.status == 201, f"issued: {name}", found=issued.body)
    await enforced(scene, issued.data["id"])
    return issued.data["key"], issued.data["id"].removeprefix("key_")


async def enforced(scene: Scene, identifier: str) -> None:
    """Wait until every gateway enforces the key, and say how long that took."""

    async def holds() -> bool:
        return bool((await scene.api("GET", f"/keys/{identifier}", quiet=True)).data["state"] == "enforced")

    seconds = await scene.until(holds, seconds=20, what="enforcement of the key")
    scene.narrator.say(f"{identifier} is enforced at the gateway {seconds * 1000:.0f} ms later")


async def upgrade(scene: Scene, plan: str, *, limit: str) -> float:
    """Change the plan; return the seconds until a call through the gateway shows the new plan's limit."""
    reply = await scene.api("POST", "/billing/upgrade", body={"plan": plan})
    scene.narrator.require(reply.status == 200, f"upgraded to {plan}: a new period starts", found=reply.body)

    async def holds() -> bool:
        answer = await scene.send(key=scene.account.key, quiet=True)
        return answer.status == 200 and answer.headers.get("X-RateLimit-Limit") == limit

    return await scene.until(holds, seconds=20, what=f"the limits of {plan} at the gateway")


def usage_path() -> str:
    """Return the path that asks for all usage of the story, whatever the test clock says."""
    now = datetime.now(UTC)
    window = [now - timedelta(days=40), now + timedelta(days=160)]
    start, end = (instant.strftime("%Y-%m-%dT%H:%M:%SZ") for instant in window)
    return f"/billing/usage?start={start}&end={end}"


def total_requests(data: dict[str, object]) -> int:
    """Read the number of all requests out of a usage answer."""
    total = data["total"]
    assert isinstance(total, dict)  # noqa: S101 - the API's own shape
    return int(total["requests"])


def _lines_of(scene: Scene) -> int:
    mark = f'"org":"{scene.account.organization.removeprefix("org_")}"'.encode()
    return sum(mark in line for line in Path(scene.stack.addresses.usage_log).read_bytes().splitlines())
