"""A card is saved without passing through Farebox, and the month's invoice is paid with it by itself."""

from typing import Any, Final

from farebox_cli.demo.browser import GOOD, Browser, test_card
from farebox_cli.demo.month import EXPECTED_TOTAL_MINOR, Issued
from farebox_cli.demo.scene import Scene

_KEPT: Final = {
    "id", "provider", "brand", "last4", "exp_month", "exp_year", "postal_check", "is_default", "created_at",
}  # fmt: skip


async def add_a_card(scene: Scene) -> None:
    """Save the card that pays."""
    say = scene.narrator
    say.chapter("A card, which never passes through here")
    card = await save_card(scene, GOOD)
    shown = f"{card['brand']} …{card['last4']}, {card['exp_month']}/{card['exp_year']}"
    say.check(set(card) <= _KEPT, f"kept of it: {shown}; no number, no code", found=sorted(card))
    say.check(card["is_default"], "it is the one that is charged", found=card)


async def save_card(scene: Scene, name: str) -> dict[str, Any]:
    """Have a test card saved by the payer's browser and the provider's webhook; return it as it is shown."""
    say, card = scene.narrator, test_card(name)
    setup = await scene.api("POST", "/payment-methods/setup")
    say.require(setup.status == 201, "a SetupIntent was made at the provider", found=setup.body)
    await Browser(scene.stack.addresses.payments, say).save_card(setup.data, card)
    shown: dict[str, Any] = {}

    async def saved() -> bool:
        listed = (await scene.api("GET", "/payment-methods", quiet=True)).data["items"]
        shown.update(next((each for each in listed if each["last4"] == card.last4), {}))
        return bool(shown)

    seconds = await scene.until(saved, seconds=30, what="the card's webhook")
    say.check(
        shown["brand"] == card.brand,
        f"the provider's webhook brought it {seconds * 1000:.0f} ms later",
        found=shown,
    )
    return shown


async def paid_by_itself(scene: Scene, issued: Issued) -> None:
    """Watch the month's invoice being collected, from its mail to the receipt."""
    say = scene.narrator
    say.chapter("The invoice is paid by itself")
    letter = await scene.mail(f"Invoice {issued.number}")
    say.check(
        "$60.00" in letter and "We charge your payment method" in letter,
        "the invoice was sent, and says that the card will be charged",
        found=letter,
    )
    await until_state(scene, issued.id, "paid")
    say.say(f"{issued.number} is paid, and nobody did anything.")
    await _paper(scene, issued, scene.link(letter))
    listed = await scene.api("GET", f"/{scene.account.organization}/payments")
    [payment] = listed.data["items"]
    ours = (payment["invoice_id"], payment["state"], payment["amount"]["minor"])
    say.check(
        ours == (issued.id, "succeeded", EXPECTED_TOTAL_MINOR),
        f"one payment of ${EXPECTED_TOTAL_MINOR / 100:.2f}, charge {payment['charge_id']}",
        found=ours,
    )
    theirs = await charges(scene)
    say.check(
        [(each["latest_charge"], each["amount_received"], each["currency"]) for each in theirs]
        == [(payment["charge_id"], EXPECTED_TOTAL_MINOR, "usd")],
        "and the provider's own books hold that charge, that amount, and no other",
        found=theirs,
    )
    receipt = await scene.mail("Receipt")
    for line in receipt.strip().splitlines():
        say.say(f"  | {line}")
    say.check(
        "$60.00" in receipt and issued.number in receipt and f"…{test_card(GOOD).last4}" in receipt,
        "the receipt names amount, invoice and card",
        found=receipt,
    )
    await _webhook(scene)


async def _paper(scene: Scene, issued: Issued, link: str) -> None:
    """Fetch the PDF twice: as a member through the API, and without a log-in by the link in the mail."""
    say = scene.narrator
    api = f"{scene.stack.addresses.web}/api/v1/billing/invoices/{issued.id}/pdf"
    status, paper = await scene.caller.download(api, token=scene.account.token)
    path = scene.folder / f"{issued.number}.pdf"
    path.write_bytes(paper)
    say.check(
        status == 200 and paper.startswith(b"%PDF-"), f"the paper: {path}, {len(paper):,} bytes",
        found=(status, paper[:200]),
    )  # fmt: skip
    by_link = await scene.caller.download(f"{link}/pdf")
    say.check(
        by_link == (200, paper),
        "the link in the mail, without a log-in, gives the same bytes",
        found=by_link[0],
    )


async def until_state(scene: Scene, invoice_id: str, state: str) -> float:
    """Wait until the invoice is in that state; return the seconds it took."""

    async def holds() -> bool:
        shown = await scene.api("GET", f"/billing/invoices/{invoice_id}", quiet=True)
        return bool(shown.data["state"] == state)

    return await scene.until(holds, seconds=30, what=f"the invoice's becoming {state}")


async def charges(scene: Scene) -> list[dict[str, Any]]:
    """Return what the provider has really charged, read from its own books."""
    found = await scene.caller.ask(
        "GET",
        f"{scene.stack.addresses.payments}/sandbox/objects/payment_intent",
        token=scene.stack.variables["FAREBOX_STRIPE_SECRET_KEY"],
        quiet=True,
    )
    return [each for each in found.body if each["status"] == "succeeded"]


async def _webhook(scene: Scene) -> None:
    """The event of the charge has come as well, was believed by its signature and changed nothing more."""
    say = scene.narrator
    event = "payment_intent.succeeded"

    async def taken() -> bool:
        listed = await scene.command("webhook", "list", "--state", "done", quiet=True)
        return event in listed

    await scene.until(taken, seconds=30, what="the webhook of the charge")
    for line in (await scene.command("webhook", "list")).splitlines():
        say.say(line)
    listed = await scene.api("GET", f"/{scene.account.organization}/payments", quiet=True)
    say.check(
        len(listed.data["items"]) == 1, f"the webhook {event} was taken, and paid nothing twice",
        found=listed.data,
    )  # fmt: skip
