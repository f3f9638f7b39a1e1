"""What taking money needs: the secret that signs links to invoices, and payment providers that answer to us.

Asks a provider only what changes nothing there.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp

from farebox.invoices.links import LEAST_SECRET
from farebox.settings import Settings
from farebox.users.tokens import MINIMUM_SECRET_LENGTH
from farebox_cli.doctor.findings import Finding, good, one_line, wrong
from farebox_cli.doctor.services import PATIENCE

_NAMES: Final[Mapping[str, str]] = {"stripe": "Stripe", "paystack": "Paystack"}
# Lists of at most one thing, which every secret key may read.
_HARMLESS: Final[Mapping[str, str]] = {"stripe": "/v1/events?limit=1", "paystack": "/transaction?perPage=1"}


async def examine_money(settings: Settings) -> AsyncIterator[Finding]:
    """The secrets that sign, then the providers."""
    yield _secret(settings, "token_secret", MINIMUM_SECRET_LENGTH, "the web process does not start")
    yield _secret(settings, "link_secret", LEAST_SECRET, "nobody can pay an invoice by a link in a mail")
    keys = {
        "stripe": settings.stripe_secret_key.get_secret_value(),
        "paystack": settings.paystack_secret_key.get_secret_value(),
    }
    used = [name for name, key in keys.items() if key]
    if not used:
        yield good("payments", "no provider is set: invoices are issued, and no card is charged")
        return
    if settings.payment_provider not in used:
        found = f"FAREBOX_PAYMENT_PROVIDER is {settings.payment_provider}, which has no secret key"
        missing = f"FAREBOX_{settings.payment_provider.upper()}_SECRET_KEY"
        yield wrong("payments", found, f"Set {missing}, or FAREBOX_PAYMENT_PROVIDER={used[0]}.")
    if keys["stripe"]:
        for finding in _stripe_settings(settings):
            yield finding
    for name in used:
        yield await _answers(settings, name, keys[name])


def _secret(settings: Settings, field: str, least: int, without: str) -> Finding:
    what, variable = field.replace("_", " "), f"FAREBOX_{field.upper()}"
    length = len(getattr(settings, field).get_secret_value())
    if length >= least:
        return good(what, f"{length} characters")
    found = f"{variable} is not set" if not length else f"{variable} has only {length} characters"
    return wrong(what, f"{found}: {without}", f"Set {variable} to the output of `openssl rand -hex 32`.")


def _stripe_settings(settings: Settings) -> list[Finding]:
    """What Stripe needs beside its secret key."""
    secret, public = settings.stripe_secret_key.get_secret_value(), settings.stripe_publishable_key
    findings = []
    if not public:
        found = "FAREBOX_STRIPE_PUBLISHABLE_KEY is not set: no browser can save a card"
        findings.append(wrong("Stripe in the browser", found, "Copy it from Stripe's dashboard (pk_…)."))
    elif ("_live_" in secret) is not ("_live_" in public):
        found = "the secret key and the publishable key are not of the same mode, test or live"
        findings.append(
            wrong("Stripe in the browser", found, "Take both from the same page of Stripe's dashboard.")
        )
    if not settings.stripe_webhook_secret.get_secret_value():
        found = "FAREBOX_STRIPE_WEBHOOK_SECRET is not set: every webhook is refused"
        address = f"{settings.public_url.rstrip('/')}/api/v1/webhooks/stripe"
        remedy = f"Enter {address} in Stripe's dashboard and set the secret that it shows (whsec_…)."
        findings.append(wrong("Stripe's webhooks", found, remedy))
    return findings or [good("Stripe's settings", "publishable key and webhook secret are set")]


async def _answers(settings: Settings, name: str, key: str) -> Finding:
    """The provider answers, and takes our key."""
    what, variable = f"payments by {_NAMES[name]}", f"FAREBOX_{name.upper()}"
    url = str(getattr(settings, f"{name}_api_url")).rstrip("/")
    try:
        async with (
            aiohttp.ClientSession(timeout=PATIENCE) as client,
            client.get(url + _HARMLESS[name], headers={"Authorization": f"Bearer {key}"}) as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        remedy = f"May this machine reach it? Check {variable}_API_URL."
        return wrong(what, f"{url} cannot be reached: {one_line(error)}", remedy)
    if status in {401, 403}:
        return wrong(what, f"{url} refuses our key ({status})", f"Check {variable}_SECRET_KEY.")
    if status >= 400:
        return wrong(what, f"{url} answers {status}", f"Is it {_NAMES[name]}? Check {variable}_API_URL.")
    return good(what, f"{url} takes our key")
