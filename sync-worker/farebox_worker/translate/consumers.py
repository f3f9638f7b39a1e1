"""An organization as a consumer with its credentials. Pure.

Period edges are translated here to wall time, because a gateway knows neither time zones nor test clocks.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from farebox.clock import OrganizationTime
from farebox.subscriptions.periods import Course, Period
from farebox.subscriptions.states import SERVING
from farebox.subscriptions.terms import Own, limits_of, quota_of
from farebox_contract.plugins import AUTH, LIMIT
from farebox_gateway import resources
from farebox_gateway.resources import Resource
from farebox_worker.translate.credentials import KeyFacts, credential
from farebox_worker.translate.instants import milliseconds


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """The running subscription and what its periods follow from; `group` is the plan version's code.

    `own` is what goes over the plan's limits and quota; None: nothing does.
    """

    public_id: str
    group: str
    time_zone: str
    anchor_day: int
    started_at: datetime
    state: str = "active"
    trial_ends_at: datetime | None = None
    resumed_at: datetime | None = None
    own: Own | None = None

    @property
    def course(self) -> Course:
        """What the subscription's periods follow from."""
        return Course(self.time_zone, self.anchor_day, self.started_at, self.trial_ends_at, self.resumed_at)


@dataclass(frozen=True, slots=True)
class OrganizationFacts:
    """Everything about one organization that a gateway must know, as it stood at `revision` or later."""

    id: UUID
    public_id: str
    state: str
    revision: int
    time: OrganizationTime
    subscription: SubscriptionFacts | None
    keys: tuple[KeyFacts, ...]
    imported: tuple[str, ...] = ()
    """Digests of imported keys that may stand at a gateway: those that hold, and those that ended lately."""


@dataclass(frozen=True, slots=True)
class WallPeriod:
    """A billing period in Unix milliseconds of the wall, end excluded."""

    start: int
    end: int


def organization(facts: OrganizationFacts, *, now: datetime) -> list[Resource]:
    """Return the consumer and its credentials; nothing for a closed organization.

    `now` is the wall's time: it decides which periods are the current and the next, and which keys have
    expired. Revoked keys are not among the facts.
    """
    if facts.state == "closed":
        return []
    serves = facts.subscription is None or facts.subscription.state in SERVING
    plugins: dict[str, Any] = {AUTH: {"state": facts.state if serves else "suspended"}}
    group: str | None = None
    period: int | None = None
    if facts.subscription is not None:
        current, following = periods(facts.subscription, facts.time, now=now)
        group, period = facts.subscription.group, current.start
        plugins[LIMIT] = {
            "subscription": facts.subscription.public_id,
            "periods": [{"start": each.start, "end": each.end} for each in (current, following)],
            **_overrides(facts.subscription.own),
        }
    consumer = resources.consumer(
        facts.public_id, plugins=plugins, revision=facts.revision, group=group, period=period
    )
    living = (key for key in facts.keys if key.expires_at is None or key.expires_at > now)
    return [consumer, *(credential(facts.public_id, key) for key in living)]


def periods(
    subscription: SubscriptionFacts, time: OrganizationTime, *, now: datetime
) -> tuple[WallPeriod, WallPeriod]:
    """Return the current and the next billing period on the wall's clock.

    The first period begins where the subscription does. A subscription that begins a little after `now`, by
    another machine's clock, is in its first period already.
    """
    current = current_period(subscription, time, now=now)
    following = subscription.course.after(current)
    return _wall(current, time), _wall(following, time)


def current_period(subscription: SubscriptionFacts, time: OrganizationTime, *, now: datetime) -> Period:
    """Return the current billing period in the organization's own time."""
    return subscription.course.around(time.at(now))


def _overrides(own: Own | None) -> dict[str, Any]:
    """Return the limits and the quota that are not the consumer group's."""
    if own is None:
        return {}
    found: dict[str, Any] = {}
    limits, quota = limits_of(own), quota_of(own)
    if limits != list(own.plan_limits):
        found["limits"] = [dict(each) for each in limits]
    if quota is not None and quota != own.plan_quota:
        found["quota"] = dict(quota)
    return found


def _wall(period: Period, time: OrganizationTime) -> WallPeriod:
    return WallPeriod(milliseconds(time.wall(period.start)), milliseconds(time.wall(period.end)))
