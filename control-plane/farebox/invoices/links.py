"""Signed links to one invoice: who holds the link may see that invoice and pay it, and nothing else.

A token is `inv_….<expiry>.<signature>`: HMAC-SHA256 over what stands before it, with a key made from the link
secret for this purpose alone, so that no other token of ours can be taken for one. Pure.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Final

LIFETIME: Final = timedelta(days=90)
LEAST_SECRET: Final = 32
_PURPOSE: Final = b"farebox invoice link v1"


class InvalidLinkError(ValueError):
    """The link was not made here, was changed, or is too old."""


class ExpiredLinkError(InvalidLinkError):
    """The link was made here, and is too old."""


def sign(secret: str, invoice: str, *, expires: datetime) -> str:
    """Return the token for an invoice (`inv_…`). Raises `ValueError` for a secret below 32 characters."""
    body = f"{invoice}.{int(expires.timestamp())}"
    return f"{body}.{_signature(secret, body)}"


def read(secret: str, token: str, *, now: datetime) -> str:
    """Return the invoice (`inv_…`) that a token opens. Raises `InvalidLinkError`, `ExpiredLinkError`."""
    body, dot, signature = token.rpartition(".")
    if not dot or not hmac.compare_digest(signature.encode(), _signature(secret, body).encode()):
        raise InvalidLinkError("the signature does not match")
    invoice, _, expires = body.rpartition(".")
    if int(expires) <= now.timestamp():
        raise ExpiredLinkError("the link is too old")
    return invoice


def _signature(secret: str, body: str) -> str:
    if len(secret) < LEAST_SECRET:
        raise ValueError(f"the link secret needs {LEAST_SECRET} characters or more")
    key = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
    return urlsafe_b64encode(hmac.digest(key, body.encode(), hashlib.sha256)).rstrip(b"=").decode()
