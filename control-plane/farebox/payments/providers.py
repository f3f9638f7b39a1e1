"""The providers that the settings switch on, opened and closed with the process that uses them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from farebox import problems
from farebox.payments.paystack_adapter import Paystack
from farebox.payments.provider import Provider
from farebox.payments.stripe_adapter import Stripe
from farebox.problems import Refusal
from farebox.settings import Settings


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers that are on, and which of them collects a currency."""

    stripe: Stripe | None
    paystack: Paystack | None
    default: str
    by_currency: Mapping[str, str]

    def named(self, name: str) -> Provider:
        """Return the provider. Raises `Refusal` 503 if it is off."""
        found: Provider | None = {"stripe": self.stripe, "paystack": self.paystack}.get(name)
        if found is None:
            raise Refusal(problems.PAYMENTS_UNAVAILABLE, details={"provider": name})
        return found

    def collecting(self, currency: str) -> Provider:
        """Return the provider for a currency. Raises `Refusal` 503 if it is off."""
        return self.named(self.by_currency.get(currency, self.default))

    def elements(self) -> Stripe:
        """Return Stripe, whose Elements take cards in the browser. Raises `Refusal` 503 if it is off."""
        if self.stripe is None:
            raise Refusal(problems.PAYMENTS_UNAVAILABLE, details={"provider": "stripe"})
        return self.stripe

    @property
    def switched_on(self) -> tuple[Provider, ...]:
        """Return those that are on."""
        return tuple(each for each in (self.stripe, self.paystack) if each is not None)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Providers]:
    """Open the providers that have a secret key, with one session for all, for the length of the block."""
    stripe_key = settings.stripe_secret_key.get_secret_value()
    paystack_key = settings.paystack_secret_key.get_secret_value()
    seconds = settings.payment_timeout_seconds
    async with aiohttp.ClientSession() as session:
        yield Providers(
            stripe=Stripe(stripe_key, settings.stripe_api_url, session, timeout=seconds)
            if stripe_key
            else None,
            paystack=Paystack(paystack_key, settings.paystack_api_url, session, timeout=seconds)
            if paystack_key
            else None,
            default=settings.payment_provider,
            by_currency=settings.payment_providers,
        )
