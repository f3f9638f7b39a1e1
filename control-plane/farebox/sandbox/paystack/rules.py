"""What Paystack takes and refuses: parameters, currencies, floors, test cards. Pure.

https://paystack.com/docs/api/transaction/, https://paystack.com/docs/payments/test-payments/. Paystack has
no typed
SDK to read parameters from, so they stand here; one that is not listed is refused, although Paystack itself
passes over it: a stand-in that does would hide a misspelt name.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Obj = dict[str, Any]

INITIALIZE: Final = frozenset(
    {"email", "amount", "currency", "reference", "callback_url", "metadata", "channels"}
)
CHARGE: Final = frozenset({"email", "amount", "authorization_code", "currency", "reference", "metadata"})
REFUND: Final = frozenset({"transaction", "amount", "currency", "customer_note", "merchant_note"})
LIST: Final = frozenset({"perPage", "page", "customer", "status", "from", "to", "amount"})
REFUND_LIST: Final = frozenset({"perPage", "page", "transaction", "currency", "from", "to"})
FLOORS: Final[Mapping[str, int]] = {"NGN": 5000, "USD": 200, "GHS": 10, "ZAR": 100, "KES": 300, "XOF": 100}
_REFERENCE: Final = re.compile(r"[A-Za-z0-9.=_-]{1,100}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


class PaystackRefusal(Exception):  # noqa: N818 - refusing is an answer, not a fault
    """One answer that is no success, in Paystack's shape."""

    def __init__(
        self, status: int, message: str, *, code: str, kind: str = "validation_error", step: str = ""
    ) -> None:
        """`step` is the text of `meta.nextStep`."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.step = step or "Correct the request and send it again"

    def body(self) -> Obj:
        """The JSON of the answer."""
        meta = {"nextStep": self.step}
        return {"status": False, "message": self.message, "meta": meta, "type": self.kind, "code": self.code}


def invalid(message: str) -> PaystackRefusal:
    """A value that cannot stand there."""
    return PaystackRefusal(400, message, code="invalid_params")


def check_names(given: Mapping[str, Any], allowed: frozenset[str], required: tuple[str, ...] = ()) -> None:
    """Refuse names that the reference does not have, and those that are missing."""
    for name in given:
        if name not in allowed:
            raise PaystackRefusal(400, f"Unknown parameter: {name}", code="unknown_parameter")
    for name in required:
        if given.get(name) in {None, ""}:
            raise PaystackRefusal(400, f"{name} is required", code="missing_params")


def amount(given: Mapping[str, Any], currency: str, *, name: str = "amount") -> int:
    """Minor units, as a number or as digits in a text, at least the currency's floor."""
    value = given[name]
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise PaystackRefusal(400, "Invalid Amount Sent", code="invalid_amount")
    if value < FLOORS[currency]:
        raise PaystackRefusal(
            400, f"The minimum amount is {FLOORS[currency]} in {currency}", code="invalid_amount"
        )
    return value


def currency(given: Mapping[str, Any]) -> str:
    """One of Paystack's currencies; NGN where none is named."""
    value = given.get("currency", "NGN")
    if value not in FLOORS:
        raise PaystackRefusal(400, "Currency not supported by merchant", code="unsupported_currency")
    return str(value)


def email(given: Mapping[str, Any]) -> str:
    """An address of e-mail."""
    value = given["email"]
    if not isinstance(value, str) or not _EMAIL.fullmatch(value):
        raise PaystackRefusal(400, "Invalid Email Address Passed", code="invalid_email_address")
    return value


def reference(given: Mapping[str, Any], default: str) -> str:
    """The seller's name for the transaction."""
    value = given.get("reference") or default
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise invalid("Only -, ., = and alphanumeric characters are allowed in reference")
    return value


def metadata(given: Mapping[str, Any]) -> Any:
    """A hash, or its JSON as a text."""
    value = given.get("metadata", "")
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError as error:
            raise invalid("metadata must be JSON") from error
    return value


@dataclass(frozen=True, slots=True)
class PaystackCard:
    """A test card. `declines` is the gateway's reason on the page, `later` the one for later charges."""

    number: str
    brand: str
    bank: str
    declines: str = ""
    later: str = ""


CARDS: Final = (
    PaystackCard("4084084084084081", "visa", "TEST BANK"),
    PaystackCard("4084080000005408", "visa", "TEST BANK", declines="Declined"),
    PaystackCard("4084080000670037", "visa", "TEST BANK", later="Insufficient Funds"),
)
_BY_NUMBER: Final = {card.number: card for card in CARDS}


def card_numbered(number: str) -> PaystackCard | None:
    """The test card with this number, or None."""
    return _BY_NUMBER.get(number.replace(" ", ""))
