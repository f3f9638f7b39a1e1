"""Writing down a change of state: on the subscription, in its history, and in the outbox. All or nothing.

Knows which state follows (`states`), never whether the change is wanted: that is the verb's, which also tells
the gateways.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, outbox, problems
from farebox.problems import Refusal
from farebox.subscriptions import states
from farebox.subscriptions.model import Subscription, SubscriptionTransition
from farebox.subscriptions.states import State, Transition, TransitionError

SYSTEM = "system"


def following(transition: Transition, subscription: Subscription, *, now: datetime) -> State:
    """Return the state that follows. Raises `Refusal` 409 naming what can be done instead."""
    try:
        return states.after(
            transition,
            subscription.state,
            standing=states.standing(
                now=now,
                trial_ends_at=subscription.trial_ends_at,
                cancel_at=subscription.cancel_at,
                paused_at=subscription.paused_at,
            ),
        )
    except TransitionError as error:
        said = str(error)
        raise Refusal(
            problems.SUBSCRIPTION_STATE,
            f"{said[0].upper()}{said[1:]}.",
            details={"state": subscription.state, "transition": transition.name},
        ) from None


async def record(
    session: AsyncSession,
    subscription: Subscription,
    transition: Transition,
    *,
    before: str | None,
    to: str,
    at: datetime,
    cause: str,
    actor: str,
) -> None:
    """Set the state and write the transition with its event. `at` is the organization's time."""
    subscription.state = to
    await session.flush()
    session.add(
        SubscriptionTransition(
            id=ids.uuid7(),
            organization_id=subscription.organization_id,
            subscription_id=subscription.id,
            transition=transition.name,
            from_state=before,
            to_state=to,
            cause=cause[:500],
            actor=actor[:100],
            at=at,
        )
    )
    await session.flush()
    await outbox.enqueue(
        session,
        outbox.SUBSCRIPTION_CHANGED,
        organization=subscription.organization_id,
        payload={
            "subscription": f"sub_{subscription.public_id}",
            "from": before,
            "to": to,
            "transition": transition.name,
            "cause": cause,
        },
    )


def user(user_id: UUID) -> str:
    """Name a member as an actor."""
    return f"user {ids.encode('user', user_id)}"


def operator(user_id: UUID) -> str:
    """Name an operator as an actor."""
    return f"operator {ids.encode('user', user_id)}"
