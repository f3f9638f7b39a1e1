"""Rows of dunning that a worker's passes would have made."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from farebox import ids
from farebox.db import Database
from farebox.dunning.model import DunningCase, DunningStep, DunningTerms, TrialReminder
from farebox.invoices.model import Invoice
from farebox.subscriptions.model import Subscription


async def dunning(worker: Database, organization: UUID, at: datetime) -> str:
    """Plant a case with a step, terms and a trial that was told of; returns the case's public id."""
    case_id = ids.uuid7()
    async with worker.transaction() as session:
        invoice = (
            await session.scalars(select(Invoice.id).where(Invoice.organization_id == organization).limit(1))
        ).one()
        subscription = (
            await session.scalars(
                select(Subscription.id).where(Subscription.organization_id == organization).limit(1)
            )
        ).one()
        session.add(
            DunningCase(
                id=case_id, organization_id=organization, invoice_id=invoice, state="open", opened_at=at,
                since=at, warned_at=at, next_step="remind", next_step_at=at,
            )
        )  # fmt: skip
        await session.flush()
        session.add(
            DunningStep(
                id=ids.uuid7(), organization_id=organization, case_id=case_id, round=1, kind="remind",
                number=1, state="done", planned_at=at, at=at,
            )
        )  # fmt: skip
        session.add(DunningTerms(organization_id=organization, policy={}, actor="test", set_at=at))
        session.add(TrialReminder(subscription_id=subscription, organization_id=organization, told_at=at))
    return ids.encode("dun", case_id)
