"""One case, one round of decisions: what is due is done here, but for charges, which are begun here.

A step's row is written with what it does, in one transaction, under a key that holds it to once. A charge is
a row that is begun, then a payment under a request key made from that row, then the row's outcome: whoever
is killed in between finds the row, asks with the same key, and gets the payment that was made.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids, outbox
from farebox.dunning import facts, service
from farebox.dunning.facts import Debt
from farebox.dunning.model import DunningCase, DunningStep
from farebox.dunning.schedule import Decision, Step
from farebox.organizations import test_clock
from farebox.subscriptions import service as subscriptions

_LOOK_AGAIN: Final = timedelta(minutes=1)
# Whether the case waits for a date that was decided on by the rules of today; nothing needs locking then.
_WAITS: Final = text(
    """
    SELECT c.invoice_id, c.organization_id, c.next_step_at AS until,
           c.state = 'open' AND c.next_step_at IS NOT NULL
               AND c.decided_at >= (SELECT max(set_at) FROM dunning_policies) AS is_settled_on
    FROM dunning_cases c WHERE c.id = :case
    """
)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge that was begun: carry it out, then `finish` its step."""

    step_id: UUID
    organization_id: UUID
    invoice_id: UUID
    request_key: str


async def take(session: AsyncSession, case_id: UUID, *, wall: datetime) -> Charge | None:
    """Do what is due of the case, and return the charge that is to be carried out now, if there is one."""
    seen = (await session.execute(_WAITS, {"case": case_id})).one_or_none()
    if seen is None or (
        seen.is_settled_on and (await test_clock.time_of(session, seen.organization_id)).at(wall) < seen.until
    ):
        return None
    debt = await service.lock(session, seen.invoice_id, wall=wall)
    case = await session.scalar(
        select(DunningCase)
        .where(DunningCase.id == case_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if debt is None or case is None or case.state not in {"open", "exhausted"}:
        return None
    if not debt.facts.is_owed:
        await service.settled(session, debt.organization_id, now=wall)
    elif debt.is_disputed:
        await service.heed_dispute(session, case_id, wall=wall)
    else:
        return await _step(session, case, debt, wall)
    return None


async def _step(session: AsyncSession, case: DunningCase, debt: Debt, wall: datetime) -> Charge | None:
    charge = await session.scalar(
        select(DunningStep).where(
            DunningStep.case_id == case.id, DunningStep.round == case.round, DunningStep.state == "begun"
        )
    )
    decision = facts.decide(debt)
    for step in decision.skipped:
        session.add(_row(case, step, debt, state="skipped", outcome=_why_skipped(step, decision, debt)))
    for step in decision.steps:
        if step.kind == "charge" and charge is None:
            charge = _row(case, step, debt, state="begun", outcome=None)
            session.add(charge)
        elif step.kind == "remind":
            session.add(_row(case, step, debt, state="done", outcome="reminded"))
            await _remind(session, debt, decision)
        elif step.kind == "suspend":
            session.add(_row(case, step, debt, state="done", outcome="suspended"))
            await _suspend(session, case, debt, wall)
    _note(case, decision, debt)
    case.decided_at = wall
    await session.flush()
    if charge is None:
        return None
    # Should we be killed, or the provider not answer, it is looked at again soon.
    case.next_step, case.next_step_at, case.state = "charge", debt.now + _LOOK_AGAIN, "open"
    await session.flush()
    return Charge(charge.id, case.organization_id, case.invoice_id, f"dunning {charge.id.hex}")


async def finish(
    session: AsyncSession, charge: Charge, *, outcome: str, payment_id: UUID | None, wall: datetime
) -> None:
    """Write down what came of a charge, and have the case looked at again at once."""
    case_id = await session.scalar(select(DunningStep.case_id).where(DunningStep.id == charge.step_id))
    debt = await service.lock(session, charge.invoice_id, wall=wall)
    if debt is None or case_id is None:
        return
    await session.execute(
        update(DunningStep)
        .where(DunningStep.id == charge.step_id, DunningStep.state == "begun")
        .values(state="done", outcome=outcome[:500], payment_id=payment_id)
    )
    await session.execute(
        update(DunningCase)
        .where(DunningCase.id == case_id, DunningCase.state == "open")
        .values(next_step_at=debt.now)
    )


def _note(case: DunningCase, decision: Decision, debt: Debt) -> None:
    case.suspends_at = decision.suspends_at
    case.next_step = None if decision.upcoming is None else decision.upcoming.kind
    case.next_step_at = decision.look_at
    if decision.look_at is None:
        case.state = "exhausted"
        if debt.facts.is_exempt and case.suspended_at is None:
            # An exemption may end; whoever ends it has the case looked at, its date is looked at here.
            case.state = "open"
            case.next_step_at = debt.now + timedelta(hours=1)


async def _remind(session: AsyncSession, debt: Debt, decision: Decision) -> None:
    ends = decision.suspends_at
    await outbox.enqueue(
        session,
        outbox.INVOICE_OVERDUE,
        organization=debt.organization_id,
        payload={
            "invoice": ids.encode("inv", debt.invoice_id),
            "suspends_at": None if ends is None or ends <= debt.now else ends.isoformat(),
        },
    )


async def _suspend(session: AsyncSession, case: DunningCase, debt: Debt, wall: datetime) -> None:
    case.suspended_at = debt.now
    await session.flush()
    await subscriptions.suspend(
        session,
        debt.organization_id,
        cause=f"invoice {debt.number} is unpaid",
        actor=service.ACTOR,
        now=wall,
    )


def _why_skipped(step: Step, decision: Decision, debt: Debt) -> str:
    is_last = all(other.number <= step.number for other in decision.skipped if other.kind == step.kind)
    tried = debt.facts.last_attempt_at
    if step.kind == "charge" and is_last and tried is not None:
        return f"the card was tried at {tried.isoformat()} already"
    return "a later one was due already"


def _row(case: DunningCase, step: Step, debt: Debt, **values: Any) -> DunningStep:
    return DunningStep(
        id=ids.uuid7(),
        organization_id=case.organization_id,
        case_id=case.id,
        round=case.round,
        kind=step.kind,
        number=step.number,
        planned_at=step.at,
        at=debt.now,
        **values,
    )
