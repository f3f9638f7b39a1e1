"""Where providers report. A webhook is believed by the signature over its raw body, put into the inbox and
committed before it is answered; the worker does the rest. Sent twice, it is one.
"""

import hashlib
from typing import Any, Final

import structlog
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from farebox import problems
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Nothing, View
from farebox.payments import signatures
from farebox.payments.signatures import SignatureError
from farebox.problems import Refusal
from farebox.runtime import DATABASE, SETTINGS
from farebox.web import Answer, invalid

TAG = "Webhooks"
_RECEIVE: Final = text("SELECT farebox_receive_webhook(:provider, :event, :kind, :body, :at)")
_LONGEST: Final = 200
log = structlog.get_logger(__name__)


class ProviderEvent(BaseModel):
    """An event of a provider's, in its own shape."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)


class ReceivedView(View):
    """Whether the event was new."""

    new: bool


@endpoint(
    "POST", "/webhooks/stripe", "Receive an event of Stripe's",
    tag=TAG, access=Access.PUBLIC, body=ProviderEvent, data=ReceivedView, begins=False, effect=False,
    counted=False, refusals=(problems.WEBHOOK_REFUSED,),
)  # fmt: skip
async def stripe(call: Call[ProviderEvent, Nothing]) -> Answer[ReceivedView]:
    """Stripe calls this, with `Stripe-Signature`. Answered 200 once the event is safely stored."""
    raw = await call.request.read()
    secrets = call.request.app[SETTINGS].stripe_webhook_secret.get_secret_value()
    known = [each.strip() for each in secrets.split(",") if each.strip()]
    try:
        signatures.check_stripe(raw, call.request.headers.get("Stripe-Signature"), known, now=call.now)
    except SignatureError as error:
        raise _refused("stripe", error) from error
    event = _text(call.body, "id")
    return await _received(call, "stripe", event, _text(call.body, "type"), raw)


@endpoint(
    "POST", "/webhooks/paystack", "Receive an event of Paystack's",
    tag=TAG, access=Access.PUBLIC, body=ProviderEvent, data=ReceivedView, begins=False, effect=False,
    counted=False, refusals=(problems.WEBHOOK_REFUSED,),
)  # fmt: skip
async def paystack(call: Call[ProviderEvent, Nothing]) -> Answer[ReceivedView]:
    """Paystack calls this, with `x-paystack-signature`. Its events have no id: the body's digest is it."""
    raw = await call.request.read()
    secret = call.request.app[SETTINGS].paystack_secret_key.get_secret_value()
    try:
        signatures.check_paystack(raw, call.request.headers.get("x-paystack-signature"), secret)
    except SignatureError as error:
        raise _refused("paystack", error) from error
    event = f"sha256-{hashlib.sha256(raw).hexdigest()}"
    return await _received(call, "paystack", event, _text(call.body, "event"), raw)


async def _received(
    call: Call[Any, Any], provider: str, event: str, kind: str, raw: bytes
) -> Answer[ReceivedView]:
    values = {"provider": provider, "event": event, "kind": kind[:100], "body": raw, "at": call.now}
    async with call.request.app[DATABASE].transaction() as session:
        is_new = bool(await session.scalar(_RECEIVE, values))
    return Answer(ReceivedView(new=is_new), "Received.")


def _text(body: ProviderEvent, name: str) -> str:
    value = (body.model_extra or {}).get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or "\x00" in value:
        raise invalid(name, f"must be text of at most {_LONGEST} characters")
    return value


def _refused(provider: str, error: SignatureError) -> Refusal:
    log.warning("webhook_refused", provider=provider, reason=str(error))
    return Refusal(problems.WEBHOOK_REFUSED, f"The webhook is not believed: {error}.")


ENDPOINTS: Endpoints = (stripe, paystack)
