"""The verbs of payments. Each opens its own transactions around what it asks a provider.

`collect`, `pay`, `start_intent`, `open_checkout` get money; `refund` gives it back; `record_manual` writes
down what came by bank transfer. `refusal` turns a payment that failed into an answer for its caller.
"""

from farebox.payments.accounts import Payer, Till, make_known
from farebox.payments.charging import collect, open_checkout, pay, refusal, start_intent
from farebox.payments.refunding import record_manual, refund

__all__ = [
    "Payer", "Till", "collect", "make_known", "open_checkout", "pay", "record_manual", "refund", "refusal",
    "start_intent",
]  # fmt: skip
