"""What happens at Stripe by itself as time passes: periods end, drafts are finalized, cards are tried again.

Each step is a transaction of its own, so a kill in between loses none and doubles none.
"""

from typing import Final

from farebox.sandbox.stripe import renewals
from farebox.sandbox.stripe.call import Call
from farebox.sandbox.stripe.server import acting
from farebox.sandbox.world import World

MOST_STEPS: Final = 10_000
EVERY_SECONDS: Final = 5.0


def catch_up(world: World) -> int:
    """Do what is due; returns how many steps that took. A step may make the next one due."""
    for step in range(MOST_STEPS):
        if not acting(world, _one_step):
            return step
    return MOST_STEPS


def _one_step(call: Call) -> bool:
    for body in call.all_of("invoice", oldest_first=True):
        if renewals.advance(call, body):
            return True
    return any(renewals.due(call, body) for body in call.all_of("subscription", oldest_first=True))
