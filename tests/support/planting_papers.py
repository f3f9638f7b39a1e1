"""Rows of credit notes that an operator would have made."""

from datetime import datetime, timedelta
from uuid import UUID

from tests.support import planting

from farebox import ids
from farebox.credit_notes import service
from farebox.credit_notes.model import CreditNoteRefund
from farebox.credit_notes.service import Wanted
from farebox.db import Database


async def credit_note(worker: Database, organization: UUID, *, number: str, at: datetime) -> str:
    """Credit an invoice of its own, with a refund that is done; returns the note's public id."""
    invoice = await planting.invoice(
        worker, organization, number=number, at=at - timedelta(days=800), minor=100
    )
    async with worker.transaction() as session:
        view = await service.issue(
            session, ids.decode("inv", invoice), Wanted("planted"), actor="test", now=at
        )
        session.add(
            CreditNoteRefund(
                credit_note_id=view.note.id,
                payment_id=ids.uuid7(),
                organization_id=organization,
                amount_minor=1,
                state="refunded",
                updated_at=at,
            )
        )
    return view.public_id
