"""Charges and the balance they move: https://docs.stripe.com/api/charges and /balance_transactions."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from stripe.params import (
    BalanceTransactionListParams,
    BalanceTransactionRetrieveParams,
    ChargeListParams,
    ChargeRetrieveParams,
    ChargeUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.payment_methods import card_of, checks

_RATE: Final = Decimal("0.029")
_FIXED: Final = 30
_DAY: Final = 86_400


def charge(
    call: Call, intent: Obj, method: Obj, *, error: Obj | None, captured: bool, three_d_secure: bool
) -> Obj:
    """One attempt to take money with a card; a failed one is kept too. Changes no intent."""
    body = call.start(
        "ch",
        amount=intent["amount"],
        amount_captured=0,
        amount_refunded=0,
        application=None,
        application_fee=None,
        application_fee_amount=None,
        balance_transaction=None,
        billing_details=method["billing_details"],
        calculated_statement_descriptor="FAREBOX SANDBOX",
        captured=False,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_balance_transaction=None,
        failure_code=(error or {}).get("code"),
        failure_message=(error or {}).get("message"),
        fraud_details={},
        metadata=dict(intent["metadata"]),
        on_behalf_of=None,
        outcome=_outcome(error),
        paid=error is None,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_details(intent, method, three_d_secure),
        radar_options={},
        receipt_email=intent["receipt_email"],
        receipt_number=None,
        receipt_url=None,
        refunded=False,
        review=None,
        shipping=intent["shipping"],
        source=None,
        source_transfer=None,
        statement_descriptor=intent["statement_descriptor"],
        statement_descriptor_suffix=intent["statement_descriptor_suffix"],
        status="failed" if error else "succeeded",
        transfer_data=None,
        transfer_group=None,
    )
    if error is None:
        body["receipt_url"] = f"{call.world.base_url}/receipts/{body['id']}"
    call.keep(body)
    if error is not None:
        call.emit("charge.failed", body)
    elif captured:
        settle(call, body, intent["amount"])
        call.emit("charge.succeeded", body)
    else:
        call.emit("charge.succeeded", body)
    return body


def settle(call: Call, body: Obj, amount: int) -> None:
    """The charge's money arrives, less the provider's fee."""
    fee = int((amount * _RATE).to_integral_value(ROUND_HALF_UP)) + min(_FIXED, amount)
    body |= {"captured": True, "amount_captured": amount}
    body["balance_transaction"] = moved(call, "charge", amount, body["currency"], body["id"], fee=fee)["id"]
    call.keep(body)


def moved(call: Call, kind: str, amount: int, currency: str, source: str, *, fee: int = 0) -> Obj:
    """A balance transaction: what reconciliation lists. `amount` is negative for money that leaves."""
    category = {"adjustment": "dispute"}.get(kind, kind)
    return call.keep(
        call.start(
            "txn",
            amount=amount,
            available_on=call.now + 2 * _DAY,
            balance_type="payments",
            currency=currency,
            description=None,
            exchange_rate=None,
            fee=fee,
            net=amount - fee,
            reporting_category=category,
            fee_details=[
                {
                    "amount": fee,
                    "application": None,
                    "currency": currency,
                    "description": "Stripe processing fees",
                    "type": "stripe_fee",
                }
            ]
            if fee
            else [],
            source=source,
            status="pending",
            type=kind,
        )
    )


def _outcome(error: Obj | None) -> Obj:
    if error is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 20,
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    blocked = error["code"] == "incorrect_zip" or error.get("decline_code") == "fraudulent"
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "not_sent_to_network" if blocked else "declined_by_network",
        "reason": "rule" if blocked else error.get("decline_code"),
        "risk_level": "highest" if blocked else "normal",
        "risk_score": 90 if blocked else 20,
        "seller_message": "The bank did not return any further details.",
        "type": "blocked" if blocked else "issuer_declined",
    }


def _details(intent: Obj, method: Obj, three_d_secure: bool) -> Obj:
    card: dict[str, Any] = method["card"]
    shared = {
        name: card[name]
        for name in ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    }
    proof = {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": intent["id"],
        "version": "2.2.0",
    }
    return {
        "type": "card",
        "card": {
            **shared,
            "amount_authorized": intent["amount"],
            "authorization_code": "000000",
            "checks": checks(method),
            "installments": None,
            "mandate": None,
            "network": card_of(method).brand,
            "three_d_secure": proof if three_d_secure else None,
            "wallet": None,
        },
    }


def retrieve(call: Call) -> Obj:
    """GET /v1/charges/{id}."""
    return call.find("charge", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/charges/{id}."""
    body = call.find("charge", call.named["id"])
    for name in ("description", "receipt_email"):
        if name in call.params:
            body[name] = call.params[name]
    call.remember_metadata(body)
    call.emit("charge.updated", call.keep(body))
    return body


def listed(call: Call) -> Obj:
    """GET /v1/charges."""
    wanted = {name: call.params[name] for name in ("customer", "payment_intent") if name in call.params}
    return call.page(
        "charge", "/v1/charges", keeps=lambda body: all(body[name] == value for name, value in wanted.items())
    )


def balance_transaction(call: Call) -> Obj:
    """GET /v1/balance_transactions/{id}."""
    return call.find("balance_transaction", call.named["id"])


def balance_transactions(call: Call) -> Obj:
    """GET /v1/balance_transactions."""
    wanted = {name: call.params[name] for name in ("currency", "source", "type") if name in call.params}
    return call.page(
        "balance_transaction",
        "/v1/balance_transactions",
        keeps=lambda body: all(body[name] == value for name, value in wanted.items()),
    )


ENDPOINTS: Final = (
    Endpoint("GET", "/v1/charges", ChargeListParams, listed, LISTING | {"customer", "payment_intent"}),
    Endpoint("GET", "/v1/charges/{id}", ChargeRetrieveParams, retrieve),
    Endpoint(
        "POST", "/v1/charges/{id}", ChargeUpdateParams, update, names("description receipt_email metadata")
    ),
    Endpoint(
        "GET",
        "/v1/balance_transactions",
        BalanceTransactionListParams,
        balance_transactions,
        LISTING | {"currency", "source", "type"},
    ),
    Endpoint("GET", "/v1/balance_transactions/{id}", BalanceTransactionRetrieveParams, balance_transaction),
)
