"""What follows a payment by itself: its invoice is paid; the holder of the dispute card disputes it at
once.
"""

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import Call
from farebox.sandbox.stripe.cards import Card
from farebox.sandbox.stripe.disputes import opened


def succeeded(call: Call, intent: Obj, charge: Obj, card: Card) -> None:
    """The intent has its money."""
    if "_invoice" in intent:
        from farebox.sandbox.stripe.invoices import paid_by

        paid_by(call, intent["_invoice"])
    if card.disputed:
        opened(call, charge, reason=card.disputed)
