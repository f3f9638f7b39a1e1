"""Is a webhook from whom it says? Over the raw body, in constant time. Pure; knows no tables and no JSON.

Stripe: https://docs.stripe.com/webhooks#verify-manually; Paystack: https://paystack.com/docs/payments/webhooks.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

TOLERANCE: Final = timedelta(minutes=5)
"""How old, or how far ahead, a signature of Stripe's may be: an old one may have been recorded."""


class SignatureError(ValueError):
    """The webhook is not believed; the message says why and holds neither secret nor signature."""


def check_stripe(body: bytes, header: str | None, secrets: Sequence[str], *, now: datetime) -> None:
    """Check `Stripe-Signature` (`t=…,v1=…`); any of the secrets will do. Raises `SignatureError`."""
    if not secrets:
        raise SignatureError("no signing secret is set")
    parts = [part.strip().partition("=") for part in (header or "").split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    offered = [value for name, _, value in parts if name == "v1"]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdigit()) or not offered:
        raise SignatureError("the Stripe-Signature header is missing or malformed")
    signed = stamps[0].encode() + b"." + body
    expected = [hmac.new(each.encode(), signed, hashlib.sha256).hexdigest() for each in secrets]
    if not any(_same(one, other) for one in expected for other in offered):
        raise SignatureError("the signature does not fit the body")
    if abs(now.timestamp() - int(stamps[0][:12])) > TOLERANCE.total_seconds():
        raise SignatureError("the signature is too old")


def check_paystack(body: bytes, header: str | None, secret: str) -> None:
    """Check `x-paystack-signature`, the HMAC-SHA512 of the body. Raises `SignatureError`."""
    if not secret:
        raise SignatureError("no secret key is set")
    if not header:
        raise SignatureError("the x-paystack-signature header is missing")
    if not _same(hmac.new(secret.encode(), body, hashlib.sha512).hexdigest(), header):
        raise SignatureError("the signature does not fit the body")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
