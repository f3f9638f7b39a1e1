"""What follows a payment by itself: the holder of the dispute card disputes it at once."""

from farebox.sandbox.stripe.call import Call
from farebox.sandbox.stripe.cards import Card
from farebox.sandbox.stripe.disputes import opened
from farebox.sandbox.store import Obj


def succeeded(call: Call, _intent: Obj, charge: Obj, card: Card) -> None:
    """The intent has its money."""
    if card.disputed:
        opened(call, charge, reason=card.disputed)
