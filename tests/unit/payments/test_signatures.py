"""Signatures of webhooks: against the SDK's own signing, and against everything that is nearly right."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import WebhookSignature

from farebox.payments.signatures import SignatureError, check_paystack, check_stripe

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BODY = b'{"id":"evt_1","amount":4299}'
SECRET = "whsec_of_this_test"


def header(*, at: datetime = NOW, secret: str = SECRET) -> str:
    """Sign as the SDK does."""
    return str(
        WebhookSignature.generate_signature_header(BODY.decode(), secret, timestamp=int(at.timestamp()))
    )


def test_what_the_sdk_signs_is_believed() -> None:
    """Our check and Stripe's own signing agree, also while two secrets are in use."""
    check_stripe(BODY, header(), [SECRET], now=NOW)
    check_stripe(BODY, header(), ["whsec_new", SECRET], now=NOW + timedelta(minutes=4))


@pytest.mark.parametrize(
    ("body", "given", "secrets", "now"),
    [
        (BODY + b" ", header(), [SECRET], NOW),
        (BODY, header(secret="whsec_other"), [SECRET], NOW),
        (BODY, header(), [SECRET], NOW + timedelta(minutes=6)),
        (BODY, header(), [SECRET], NOW - timedelta(minutes=6)),
        (BODY, header(), [], NOW),
        (BODY, None, [SECRET], NOW),
        (BODY, "t=1", [SECRET], NOW),
        (BODY, "v1=00", [SECRET], NOW),
        (BODY, "t=١٢,v1=00", [SECRET], NOW),
        (BODY, header() + ",t=1", [SECRET], NOW),
    ],
)
def test_everything_else_is_refused(
    body: bytes, given: str | None, secrets: list[str], now: datetime
) -> None:
    """Another body, secret or time; no secret, no header, half a header."""
    with pytest.raises(SignatureError) as refused:
        check_stripe(body, given, secrets, now=now)
    assert SECRET not in str(refused.value)


@given(st.text(max_size=60))
def test_no_header_breaks_the_check(text: str) -> None:
    """Whatever stands in the header is refused in the same way, never with a fault."""
    with pytest.raises(SignatureError):
        check_stripe(BODY, text, [SECRET], now=NOW)
    with pytest.raises(SignatureError):
        check_paystack(BODY, text, SECRET)


def test_paystack_signs_the_body_with_the_secret_key() -> None:
    """HMAC-SHA512, as its manual says."""
    check_paystack(BODY, hmac.new(SECRET.encode(), BODY, hashlib.sha512).hexdigest(), SECRET)
    with pytest.raises(SignatureError):
        check_paystack(BODY + b" ", hmac.new(SECRET.encode(), BODY, hashlib.sha512).hexdigest(), SECRET)
