"""Every endpoint of Stripe's API that the sandbox has: the router and the tests are made from this list."""

from collections.abc import Mapping
from typing import Final

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import (
    charges,
    checkout,
    customers,
    disputes,
    invoice_items,
    invoices,
    payment_intents,
    payment_methods,
    products,
    refunds,
    setup_intents,
    subscriptions,
    webhooks,
)
from farebox.sandbox.stripe.call import Call, Endpoint
from farebox.sandbox.stripe.expanding import Virtual

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *customers.ENDPOINTS,
    *payment_methods.ENDPOINTS,
    *setup_intents.ENDPOINTS,
    *payment_intents.ENDPOINTS,
    *charges.ENDPOINTS,
    *refunds.ENDPOINTS,
    *disputes.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *products.ENDPOINTS,
    *checkout.ENDPOINTS,
    *invoices.ENDPOINTS,
    *invoice_items.ENDPOINTS,
    *subscriptions.ENDPOINTS,
)


def _refunds(call: Call, charge: Obj) -> Obj:
    found = list(call.all_of("refund", charge=charge["id"]))
    return {"object": "list", "data": found, "has_more": False, "url": f"/v1/charges/{charge['id']}/refunds"}


VIRTUAL: Final[Mapping[tuple[str, str], Virtual]] = {
    ("charge", "refunds"): _refunds,
    ("invoice", "confirmation_secret"): invoices.confirmation_secret,
    ("invoice", "payments"): invoices.payments,
    ("checkout.session", "line_items"): checkout.line_items,
}
