"""Every table there is, imported so that `Base.metadata` is whole (for migrations and schema tests)."""

from farebox import idempotency, outbox
from farebox.add_ons import model as add_ons
from farebox.alerts import model as alerts
from farebox.billing_details import model as billing_details
from farebox.coupons import model as coupons
from farebox.credit_notes import model as credit_notes
from farebox.credits import model as credits_
from farebox.db import Base
from farebox.dunning import model as dunning
from farebox.gateways import model as gateways
from farebox.invoices import events as invoice_events
from farebox.invoices import model as invoices
from farebox.keys import model as keys
from farebox.organizations import model as organizations
from farebox.payments import model as payments
from farebox.payments.managed import model as managed_payments
from farebox.plans import model as plans
from farebox.products import model as products
from farebox.subscriptions import model as subscriptions
from farebox.taxes import model as taxes
from farebox.usage import model as usage
from farebox.users import model as users

__all__ = [
    "add_ons", "alerts", "billing_details", "coupons", "credit_notes", "credits_", "dunning", "gateways",
    "idempotency", "invoice_events", "invoices", "keys", "managed_payments", "metadata", "organizations",
    "outbox", "payments", "plans", "products", "subscriptions", "taxes", "usage", "users",
]  # fmt: skip

metadata = Base.metadata
