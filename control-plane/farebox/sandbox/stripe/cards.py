"""Stripe's test cards and what each of them does: https://docs.stripe.com/testing.

The one list: numbers for forms, `pm_card_…` names for the API. Pure; refuses to know what a charge is.
"""

from dataclasses import dataclass
from typing import Final, Literal

Authentication = Literal["never", "set_up", "always"]


@dataclass(frozen=True, slots=True)
class Card:
    """One test card. `declines` is the code of the refusal, "" for none; `decline_code` the issuer's reason.

    `attaches`: a declined card that can be saved all the same fails later. `authentication`: "set_up" asks
    the person once and serves off-session afterwards; "always" asks every time.
    """

    name: str
    number: str
    brand: str = "visa"
    declines: str = ""
    decline_code: str | None = None
    message: str = ""
    attaches: bool = True
    authentication: Authentication = "never"
    postal_code_check: Literal["pass", "fail"] = "pass"
    cvc_check: Literal["pass", "fail"] = "pass"
    disputed: str = ""
    refund_fails: bool = False
    country: str = "US"
    aliases: tuple[str, ...] = ()

    @property
    def last4(self) -> str:
        """The digits that may be shown."""
        return self.number[-4:]


def _declined(name: str, number: str, reason: str, message: str = "Your card was declined.") -> Card:
    return Card(
        name,
        number,
        declines="card_declined",
        decline_code=reason,
        message=message,
        attaches=False,
        aliases=(f"visa_{name}",),
    )


CARDS: Final = (
    Card("visa", "4242424242424242"),
    Card("visa_debit", "4000056655665556"),
    Card("mastercard", "5555555555554444", brand="mastercard"),
    Card("amex", "378282246310005", brand="amex"),
    Card("gb", "4000008260000000", country="GB"),
    Card("de", "4000002760000016", country="DE"),
    _declined("chargeDeclined", "4000000000000002", "generic_decline"),
    _declined(
        "chargeDeclinedInsufficientFunds",
        "4000000000009995",
        "insufficient_funds",
        "Your card has insufficient funds.",
    ),
    _declined("chargeDeclinedLostCard", "4000000000009987", "lost_card"),
    _declined("chargeDeclinedStolenCard", "4000000000009979", "stolen_card"),
    _declined("chargeDeclinedFraudulent", "4100000000000019", "fraudulent"),
    Card(
        "chargeDeclinedExpiredCard",
        "4000000000000069",
        declines="expired_card",
        decline_code="expired_card",
        message="Your card has expired.",
        attaches=False,
        aliases=("visa_chargeDeclinedExpiredCard",),
    ),
    Card(
        "chargeDeclinedIncorrectCvc",
        "4000000000000127",
        declines="incorrect_cvc",
        decline_code="incorrect_cvc",
        message="Your card's security code is incorrect.",
        attaches=False,
        cvc_check="fail",
        aliases=("visa_chargeDeclinedIncorrectCvc",),
    ),
    Card(
        "chargeDeclinedProcessingError",
        "4000000000000119",
        declines="processing_error",
        decline_code="processing_error",
        attaches=False,
        message="An error occurred while processing your card. Try again in a little bit.",
        aliases=("visa_chargeDeclinedProcessingError",),
    ),
    Card(
        "chargeCustomerFail",
        "4000000000000341",
        declines="card_declined",
        decline_code="generic_decline",
        message="Your card was declined.",
        aliases=("visa_chargeCustomerFail",),
    ),
    Card(
        "threeDSecureRequired",
        "4000000000003220",
        authentication="always",
        aliases=("threeDSecure2Required",),
    ),
    Card("authenticationRequired", "4000002760003184", authentication="always"),
    Card(
        "authenticationRequiredOnSetup",
        "4000002500003155",
        authentication="set_up",
        aliases=("authenticationRequiredSetupForOffSession",),
    ),
    Card(
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        authentication="always",
        declines="card_declined",
        decline_code="insufficient_funds",
        message="Your card has insufficient funds.",
    ),
    Card("avsZipFail", "4000000000000036", postal_code_check="fail"),
    Card("avsFail", "4000000000000010", postal_code_check="fail"),
    Card("createDispute", "4000000000000259", disputed="fraudulent"),
    Card("createDisputeProductNotReceived", "4000000000002685", disputed="product_not_received"),
    Card("refundFail", "4000000000005126", refund_fails=True),
)

_BY_NUMBER: Final = {card.number: card for card in CARDS}
_BY_NAME: Final = {name: card for card in CARDS for name in (card.name, *card.aliases)}


def numbered(number: str) -> Card | None:
    """The test card with this number (spaces are fine), or None."""
    return _BY_NUMBER.get(number.replace(" ", ""))


def named(method: str) -> Card | None:
    """The test card behind `pm_card_…` or `tok_…`, or None."""
    for prefix in ("pm_card_", "tok_"):
        if method.startswith(prefix):
            return _BY_NAME.get(method.removeprefix(prefix))
    return None


def passes_luhn(number: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in reversed(number)]
    return (
        sum(digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits))
        % 10
        == 0
    )
