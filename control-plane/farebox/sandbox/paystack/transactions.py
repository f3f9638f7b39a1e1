"""Paystack's transactions and refunds: what happens to them, and the events that follow.

A transaction starts `abandoned` (Paystack's word for not yet paid), and ends `success` or `failed`.
"""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from farebox.sandbox.paystack import rules
from farebox.sandbox.paystack.rules import PaystackCard, PaystackRefusal
from farebox.sandbox.store import Obj
from farebox.sandbox.world import World

KIND: Final = "paystack.transaction"
REFUND_KIND: Final = "paystack.refund"
_AUTHORIZATION: Final = "paystack.authorization"
_FEE_PERCENT: Final = 15  # tenths


def stamp(seconds: int) -> str:
    """An instant in Paystack's shape."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def initialize(world: World, given: Obj) -> Obj:
    """POST /transaction/initialize → the data: {"authorization_url", "access_code", "reference"}."""
    body = _new(world, given, channel=None)
    world.store.put(KIND, body)
    url = f"{world.base_url}/paystack/pay/{body['_access_code']}"
    return {"authorization_url": url, "access_code": body["_access_code"], "reference": body["reference"]}


def _new(world: World, given: Obj, *, channel: str | None) -> Obj:
    currency = rules.currency(given)
    store, name = world.store, rules.reference(given, f"T{world.store.new_text(14)}")
    if store.get(KIND, name) is not None:
        raise PaystackRefusal(
            400,
            "Duplicate Transaction Reference",
            code="duplicate_reference",
            step="Ensure that you're passing a unique reference",
        )
    number = store.count_up("paystack_transactions")
    return {
        "id": name,
        "number": 4_000_000_000 + number,
        "created": world.now(),
        "status": "abandoned",
        "reference": name,
        "amount": rules.amount(given, currency),
        "currency": currency,
        "email": rules.email(given),
        "paid": None,
        "gateway_response": "The transaction was not completed",
        "channel": channel,
        "authorization": {},
        "metadata": rules.metadata(given),
        "callback_url": given.get("callback_url") or None,
        "refunded": 0,
        "_access_code": store.new_text(15).lower(),
    }


def by_access_code(world: World, code: str) -> Obj | None:
    """The transaction that a page was opened for."""
    return next((body for body in world.store.newest_first(KIND) if body["_access_code"] == code), None)


def pay(world: World, body: Obj, card: PaystackCard, *, expires: tuple[int, int]) -> Obj:
    """A person types a card on the page: the transaction succeeds or fails, once."""
    if body["status"] == "success":
        return body
    authorization = {
        "authorization_code": f"AUTH_{world.store.new_text(10).lower()}",
        "bin": card.number[:6],
        "reusable": True,
        "last4": card.number[-4:],
        "exp_month": f"{expires[0]:02}",
        "exp_year": str(expires[1]),
        "channel": "card",
        "card_type": card.brand,
        "bank": card.bank,
        "country_code": "NG",
        "brand": card.brand,
        "account_name": None,
        "signature": f"SIG_{card.number[-4:]}{world.store.note('seed')[:14]}",
    }
    kept = {
        **authorization,
        "id": authorization["authorization_code"],
        "_email": body["email"],
        "_number": card.number,
    }
    world.store.put(_AUTHORIZATION, kept)
    return _attempt(world, {**body, "authorization": authorization}, card.declines)


def charge(world: World, given: Obj) -> Obj:
    """POST /transaction/charge_authorization: a card that has paid before, without its holder."""
    found = world.store.get(_AUTHORIZATION, str(given["authorization_code"]))
    if found is None or found["_email"] != rules.email(given):
        raise PaystackRefusal(
            400, "Invalid authorization code, or it belongs to another email", code="invalid_authorization"
        )
    card = rules.card_numbered(found["_number"])
    body = _new(world, given, channel="card")
    body["authorization"] = {name: value for name, value in found.items() if name != "id" and name[0] != "_"}
    return _attempt(world, body, (card.declines or card.later) if card is not None else "Declined")


def _attempt(world: World, body: Obj, reason: str) -> Obj:
    body |= {
        "channel": "card",
        "status": "failed" if reason else "success",
        "gateway_response": reason or "Successful",
    }
    if not reason:
        body["paid"] = world.now()
    world.store.put(KIND, body)
    if not reason:
        _announce(world, "charge.success", body["reference"], shown(body))
    return body


def _announce(world: World, event: str, name: str, data: Obj) -> None:
    if url := world.store.note("paystack_webhook_url"):
        payload = {"event": event, "data": data}
        world.deliver("paystack", f"{event}:{name}", event, url, world.keys.paystack_secret_key, payload)


def shown(body: Obj) -> Obj:
    """A transaction as `verify` and the list show it."""
    paid = stamp(body["paid"]) if body["paid"] is not None else None
    return {
        "id": body["number"],
        "domain": "test",
        "status": "reversed" if _gone(body) else body["status"],
        "reference": body["reference"],
        "receipt_number": None,
        "amount": body["amount"],
        "message": None,
        "gateway_response": body["gateway_response"],
        "paid_at": paid,
        "paidAt": paid,
        "created_at": stamp(body["created"]),
        "createdAt": stamp(body["created"]),
        "channel": body["channel"] or "card",
        "currency": body["currency"],
        "ip_address": None,
        "metadata": body["metadata"],
        "log": None,
        "fees": _fee(body) if body["paid"] is not None else None,
        "fees_split": None,
        "authorization": body["authorization"],
        "requested_amount": body["amount"],
        "customer": {
            "id": body["number"],
            "first_name": None,
            "last_name": None,
            "email": body["email"],
            "phone": None,
            "customer_code": f"CUS_{body['number']}",
            "metadata": None,
            "risk_action": "default",
        },
        "plan": None,
        "split": {},
        "order_id": None,
        "subaccount": {},
        "pos_transaction_data": None,
        "source": None,
    }


def _gone(body: Obj) -> bool:
    return bool(body["refunded"]) and body["refunded"] >= body["amount"]


def _fee(body: Obj) -> int:
    return int(body["amount"]) * _FEE_PERCENT // 1000


def found(world: World, name: str) -> Obj:
    """By reference or by number; Refusal 404."""
    body = world.store.get(KIND, name)
    if body is None and name.isascii() and name.isdigit():
        body = next((one for one in world.store.newest_first(KIND) if one["number"] == int(name)), None)
    if body is None:
        raise PaystackRefusal(
            404,
            "Transaction reference not found.",
            code="transaction_not_found",
            step="Ensure that you're passing a valid transaction reference",
        )
    return body


def refund(world: World, given: Obj) -> Obj:
    """POST /refund: all of a transaction, or a part, never beyond what is left. The money goes at once."""
    body = found(world, str(given["transaction"]))
    if body["status"] != "success":
        raise PaystackRefusal(
            400, "Transaction has not been paid, so it cannot be refunded", code="invalid_status"
        )
    left = body["amount"] - body["refunded"]
    if left <= 0:
        raise PaystackRefusal(400, "Transaction has been fully reversed", code="transaction_reversed")
    if given.get("currency", body["currency"]) != body["currency"]:
        raise PaystackRefusal(400, "Currency does not match the transaction's", code="invalid_currency")
    amount = left
    if "amount" in given:
        amount = rules.amount({"amount": given["amount"]}, body["currency"])
    if amount > left:
        raise PaystackRefusal(
            400, "Refund amount cannot be more than transaction amount", code="invalid_amount"
        )
    body["refunded"] += amount
    world.store.put(KIND, body)
    number = world.store.count_up("paystack_refunds")
    made = {
        "id": str(10_000_000 + number),
        "created": world.now(),
        "reference": body["reference"],
        "amount": amount,
        "currency": body["currency"],
        "transaction": body["number"],
        "customer_note": given.get("customer_note"),
        "merchant_note": given.get("merchant_note"),
    }
    world.store.put(REFUND_KIND, made)
    done = {
        **shown_refund(made),
        "transaction_reference": body["reference"],
        "customer": {"email": body["email"]},
    }
    _announce(world, "refund.processed", made["id"], done)
    return {**shown_refund(made), "status": "pending", "transaction": shown(body)}


def shown_refund(made: Obj) -> Obj:
    """A refund as the list shows it."""
    return {
        "id": int(made["id"]),
        "integration": 100_000,
        "domain": "test",
        "transaction": made["transaction"],
        "dispute": None,
        "amount": made["amount"],
        "deducted_amount": made["amount"],
        "currency": made["currency"],
        "channel": "card",
        "fully_deducted": True,
        "refunded_by": "sandbox@farebox.invalid",
        "refunded_at": stamp(made["created"]),
        "expected_at": stamp(made["created"]),
        "settlement": None,
        "customer_note": made["customer_note"],
        "merchant_note": made["merchant_note"],
        "createdAt": stamp(made["created"]),
        "updatedAt": stamp(made["created"]),
        "status": "processed",
    }


def page(bodies: Iterator[Obj], given: Obj) -> tuple[list[Obj], Obj]:
    """One page of a list and its `meta`; `perPage` at most 100, `from` and `to` ISO 8601."""
    size, number = _whole(given, "perPage", 50), _whole(given, "page", 1)
    bounds = {name: _instant(given, name) for name in ("from", "to") if name in given}
    kept = [
        body
        for body in bodies
        if bounds.get("from", body["created"]) <= body["created"] <= bounds.get("to", body["created"])
    ]
    start = (number - 1) * size
    meta = {
        "total": len(kept),
        "skipped": start,
        "perPage": size,
        "page": number,
        "pageCount": -(-len(kept) // size),
    }
    return list(itertools.islice(kept, start, start + size)), meta


def _whole(given: Obj, name: str, default: int) -> int:
    value: Any = given.get(name, str(default))
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= (100 if name == "perPage" else 10**6)):
        raise rules.invalid(f"{name} is a whole number from 1; perPage at most 100")
    return int(value)


def _instant(given: Obj, name: str) -> int:
    try:
        moment = datetime.fromisoformat(given[name])
    except ValueError as error:
        raise rules.invalid(f"{name} is no ISO 8601 instant") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
