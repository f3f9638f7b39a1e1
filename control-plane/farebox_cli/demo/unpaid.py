"""A card is declined: letters, retries, the end of service at the gateway, payment, and service again."""

from datetime import datetime, timedelta
from typing import Final

from farebox_cli.demo.browser import ANOTHER, DECLINED, Browser, test_card
from farebox_cli.demo.month import Issued, advance, close_period
from farebox_cli.demo.paying import save_card, until_state
from farebox_cli.demo.scene import Scene

_DUE: Final = timedelta(days=14)
_LAST: Final = timedelta(days=14, hours=1)
_MINUTES: Final = timedelta(minutes=5)


async def declined_and_back(scene: Scene) -> None:
    """Let the next month's charge fail, walk through the dunning schedule, pay, and be served again."""
    scene.narrator.chapter("A declined card: reminders, suspension, payment, service again")
    bad = await _a_bad_card(scene)
    issued, at = await _a_failed_month(scene)
    await _the_schedule(scene, issued, at)
    link = await _suspended(scene, at)
    await _paid_and_served(scene, issued, link)
    removed = await scene.api("DELETE", f"/payment-methods/{bad}", quiet=True)
    scene.narrator.check(removed.status == 200, "the owner removes the bad card", found=removed.body)


async def _a_bad_card(scene: Scene) -> str:
    say = scene.narrator
    card = await save_card(scene, DECLINED)
    chosen = await scene.api("POST", f"/payment-methods/{card['id']}/default", quiet=True)
    say.require(chosen.status == 200, f"card …{card['last4']} is charged from now on", found=chosen.body)
    return str(card["id"])


async def _a_failed_month(scene: Scene) -> tuple[Issued, datetime]:
    """Close the next month; return its invoice and the organization's time of then."""
    say = scene.narrator
    current = (await scene.api("GET", "/billing/current", quiet=True)).data
    at = datetime.fromisoformat(current["period_end"]) + timedelta(minutes=1)
    await advance(scene, at)
    invoice, seconds = await close_period(scene, current["period_start"])
    say.say(
        f"Another month has passed; {invoice['number']} over ${invoice['total']['decimal']} was made "
        f"within {seconds:.1f} s, and its charge is declined."
    )
    letter = await scene.mail(f"A payment of ${invoice['total']['decimal']} failed")
    say.check("declined" in letter, "the letter names the reason: the card was declined", found=letter)
    say.check(
        (await scene.send(key=scene.account.key, quiet=True)).status == 200,
        "nobody is cut off for a declined card: 200",
    )
    return Issued(invoice["id"], invoice["number"]), at


async def _the_schedule(scene: Scene, issued: Issued, at: datetime) -> None:
    say = scene.narrator
    last = (at + _DUE + _LAST).strftime("%Y-%m-%dT%H:%M:%SZ")
    foretold = await scene.command(
        "dunning", "preview", "--on", last, "--organization", scene.account.organization
    )
    for line in foretold.splitlines():
        say.say(line)
    say.check(
        issued.number in foretold and "suspend" in foretold,
        "the schedule of the house says what will happen if nothing is paid",
        found=foretold,
    )
    await advance(scene, at + _DUE + _MINUTES)
    await until_state(scene, issued.id, "overdue")
    subscription = await scene.api("GET", "/billing/subscription", quiet=True)
    say.check(
        subscription.data["state"] == "past_due", f"{issued.number} is overdue, the subscription is past due",
        found=subscription.body,
    )  # fmt: skip
    await advance(scene, at + _DUE + timedelta(days=1) + _MINUTES)
    letter = await scene.mail(f"{issued.number} is overdue")
    say.check("Access ends on" in letter, "the letter says on which day access ends", found=letter)
    reply = await scene.send(key=scene.account.key, quiet=True)
    say.check(reply.status == 200, "until then the gateway serves: 200", found=(reply.status, reply.code))


async def _suspended(scene: Scene, at: datetime) -> str:
    """Return the link to pay by that stands in the letter."""
    say = scene.narrator
    await advance(scene, at + _DUE + timedelta(days=14) + _MINUTES)

    async def refused() -> bool:
        return (await scene.send(key=scene.account.key, quiet=True)).status == 403

    seconds = await scene.until(refused, seconds=30, what="the suspension at the gateway")
    reply = await scene.send(key=scene.account.key)
    say.check(
        (reply.status, reply.code) == (403, "account_suspended"),
        f"403 account_suspended at the gateway, {seconds:.1f} s after that day began",
        found=(reply.status, reply.code),
    )
    letter = await scene.mail("is suspended")
    say.check("within seconds of the payment" in letter, "a letter says so, and what to do", found=letter)
    return scene.link(letter)


async def _paid_and_served(scene: Scene, issued: Issued, link: str) -> None:
    say = scene.narrator
    browser = Browser(scene.stack.addresses.payments, say)
    say.say("The letter's link shows the invoice without a log-in; its button leads to the provider's page.")
    page = await browser.press_pay(link)
    back = await browser.pay_on_page(page, test_card(ANOTHER))
    say.say(f"The page thanks and sends the payer to {back.partition('?')[0]}")

    async def served() -> bool:
        return (await scene.send(key=scene.account.key, quiet=True)).status == 200

    seconds = await scene.until(served, seconds=30, what="service after the payment")
    reply = await scene.send(key=scene.account.key)
    say.check(reply.status == 200, f"200 again, {seconds:.2f} s after the payment", found=reply.status)
    await until_state(scene, issued.id, "paid")
    letter = await scene.mail("is back")
    say.check("accepted again" in letter, f"{issued.number} is paid, and a letter says it", found=letter)
