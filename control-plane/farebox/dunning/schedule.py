"""Which step of a case comes next, and why somebody is not cut off. Pure: facts and an instant in, steps out.

A step that was missed is not made up: of several that are due, the last is taken and those before it are
passed over, so that a worker that was away sends one letter and not five.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from farebox.dunning.policy import Policy

Kind = Literal["charge", "remind", "suspend"]
Kept = Literal[
    "not owed", "written off", "disputed", "paused", "exempt", "pays by invoice", "never", "under way",
    "suspended already",
]  # fmt: skip
"""Why an organization is not cut off for an invoice."""

OWING: Final = frozenset({"finalized", "overdue", "uncollectible"})
APART: Final = timedelta(hours=12)
"""A card that was tried so recently, by whomever, is not tried again; the retry is passed over."""
_LOOK_AGAIN: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Step:
    """The `number`th reminder, charge or suspension, planned for `at`."""

    kind: Kind
    number: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a decision rests on; instants in the organization's time.

    `done` is the highest number of each kind that is behind us. `pays_by_invoice`: on terms of payment, and
    no rule of its own says when service ends. `under_way`: money may be on its way.
    """

    since: datetime
    warned_at: datetime
    open_minor: int
    invoice_state: str
    is_automatic: bool
    is_disputed: bool = False
    is_paused: bool = False
    is_exempt: bool = False
    pays_by_invoice: bool = False
    is_suspended: bool = False
    under_way: bool = False
    last_attempt_at: datetime | None = None
    done: Mapping[Kind, int]

    @property
    def is_owed(self) -> bool:
        """Whether anything is open."""
        return self.open_minor > 0 and self.invoice_state in OWING


@dataclass(frozen=True, slots=True)
class Decision:
    """What is due now (`steps`, in order), what is passed over, and when to look again (None: never).

    `upcoming` is the next step after those. `suspends_at` is when service ends unless it is paid before;
    None where it does not, and `kept` says why.
    """

    steps: tuple[Step, ...] = ()
    skipped: tuple[Step, ...] = ()
    upcoming: Step | None = None
    look_at: datetime | None = None
    suspends_at: datetime | None = None
    kept: Kept | None = None

    @property
    def is_exhausted(self) -> bool:
        """Nothing will be done by itself any more."""
        return not self.steps and self.look_at is None


def kept(policy: Policy, facts: Facts) -> Kept | None:
    """Return why the organization is not cut off for this invoice, whatever the date; None: it can be."""
    reasons: Sequence[tuple[bool, Kept]] = (
        (not facts.is_owed, "not owed"),
        (facts.invoice_state == "uncollectible", "written off"),
        (facts.is_disputed, "disputed"),
        (facts.is_paused, "paused"),
        (facts.is_suspended, "suspended already"),
        (facts.is_exempt, "exempt"),
        (facts.pays_by_invoice, "pays by invoice"),
        (policy.suspend_after is None, "never"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def suspends_at(policy: Policy, facts: Facts) -> datetime | None:
    """Return when service ends unless the invoice is paid; None: it does not."""
    if policy.suspend_after is None or kept(policy, facts) is not None:
        return None
    return max(facts.since + policy.suspend_after * _DAY, facts.warned_at + policy.grace * _DAY)


def decide(policy: Policy, facts: Facts, now: datetime) -> Decision:
    """Return what is to be done at `now`, and when to look again."""
    reason = kept(policy, facts)
    if reason in {"not owed", "written off", "disputed", "paused"}:
        return Decision(kept=reason)
    ends = suspends_at(policy, facts)
    charges = _Line("charge", policy.retries if facts.is_automatic else (), facts)
    reminders = _Line("remind", policy.reminders, facts)
    steps: list[Step] = []
    skipped = [*charges.passed_over(now), *reminders.passed_over(now)]
    looks = [charges.after(now), reminders.after(now)]
    if (charge := charges.due(now)) is not None:
        if facts.under_way:
            looks.append(Step("charge", charge.number, now + _LOOK_AGAIN))
        elif facts.last_attempt_at is not None and now - facts.last_attempt_at < APART:
            skipped.append(charge)
        else:
            steps.append(charge)
    if (reminder := reminders.due(now)) is not None:
        steps.append(reminder)
    if ends is not None:
        end = Step("suspend", facts.done.get("suspend", 0) + 1, ends)
        if ends > now:
            looks.append(end)
        elif facts.under_way:
            looks.append(replace(end, at=now + _LOOK_AGAIN))
            reason = "under way"
        elif any(step.kind == "charge" for step in steps):
            # The last charge may yet bring the money; service ends when it has failed.
            looks.append(replace(end, at=now))
        else:
            steps.append(end)
    upcoming = min((step for step in looks if step is not None), key=lambda step: step.at, default=None)
    return Decision(
        steps=tuple(steps),
        skipped=tuple(skipped),
        upcoming=upcoming,
        look_at=None if upcoming is None else upcoming.at,
        suspends_at=ends,
        kept=reason,
    )


def foretell(policy: Policy, facts: Facts, now: datetime, until: datetime) -> Iterator[Step]:
    """Yield every step that would be done by `until` if nothing is paid, each with when it would be done."""
    at = now
    while at <= until:
        decision = decide(policy, facts, at)
        done = dict(facts.done)
        for step in (*decision.skipped, *decision.steps):
            done[step.kind] = max(done.get(step.kind, 0), step.number)
        tried = any(step.kind == "charge" for step in decision.steps)
        facts = replace(
            facts,
            done=done,
            under_way=False,
            is_suspended=facts.is_suspended or any(step.kind == "suspend" for step in decision.steps),
            last_attempt_at=at if tried else facts.last_attempt_at,
        )
        for step in decision.steps:
            yield replace(step, at=at)
        if decision.look_at is None:
            return
        at = max(decision.look_at, at)


def next_charge(policy: Policy, facts: Facts, now: datetime) -> datetime | None:
    """Return when the card is tried next, after an attempt at `now` that failed; None: it is not."""
    if not facts.is_automatic or facts.is_disputed or facts.is_paused or not facts.is_owed:
        return None
    ahead = (facts.since + days * _DAY for days in policy.retries[facts.done.get("charge", 0) :])
    return next((at for at in ahead if at - now >= APART), None)


@dataclass(frozen=True, slots=True)
class _Line:
    """The steps of one kind, by the day."""

    kind: Kind
    days: tuple[int, ...]
    facts: Facts

    def _ahead(self) -> list[Step]:
        behind = self.facts.done.get(self.kind, 0)
        return [
            Step(self.kind, number, self.facts.since + days * _DAY)
            for number, days in enumerate(self.days, start=1)
            if number > behind
        ]

    def due(self, now: datetime) -> Step | None:
        return max((s for s in self._ahead() if s.at <= now), key=lambda s: s.number, default=None)

    def passed_over(self, now: datetime) -> list[Step]:
        return [s for s in self._ahead() if s.at <= now][:-1]

    def after(self, now: datetime) -> Step | None:
        return next((s for s in self._ahead() if s.at > now), None)
