"""Events become letters: once each, to those who must know, in their language, none when it is too late."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api

from farebox import outbox
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.invoices import links
from farebox.notifications.letters import render
from farebox.settings import Settings
from farebox_worker.announcing import ANNOUNCEMENTS
from farebox_worker.jobs import outbox_row
from farebox_worker.jobs.outbox_row import Context

SECRET = "a link secret that only these tests know, long enough"


class Office:
    """The worker's part: does what waits in the outbox, but sends no mail."""

    def __init__(self, worker: Database, settings: Settings, clock: ManualClock) -> None:
        self.worker, self.clock = worker, clock
        self.settings = settings.model_copy(update={"link_secret": SecretStr(SECRET)})

    async def announce(self, job: outbox.Job, organization: UUID, **payload: Any) -> None:
        """Have an event happen, and be completed as the worker completes it; twice, as after a lost lease."""
        async with self.worker.transaction() as session:
            await outbox.enqueue(session, job, organization=organization, payload=payload)
        for lease in await outbox_row.lease(self.worker, limit=100):
            async with self.worker.transaction() as session:
                name = await session.scalar(text("SELECT job FROM outbox WHERE id = :id"), {"id": lease.row})
            if name in ANNOUNCEMENTS:
                for _ in range(2):
                    await outbox_row.run(Context(self.worker, self.settings, self.clock), lease)

    async def letters(self, template: str) -> list[dict[str, Any]]:
        """What is to be sent by this letter, oldest first; each can be made."""
        async with self.worker.transaction() as session:
            rows = await session.scalars(
                text(
                    "SELECT payload FROM outbox WHERE job = 'mail.send' "
                    "AND payload ->> 'template' = :name ORDER BY id"
                ),
                {"name": template},
            )
            found = list(rows)
        for each in found:
            values = {"name": "", "product": "p", "public_url": "http://x", **each["context"]}
            assert render(template, values, language=each["language"]).subject
        return found


@pytest.fixture
def office(worker: Database, settings: Settings, clock: ManualClock) -> Office:
    """An office."""
    return Office(worker, settings, clock)


async def test_an_invoice_is_sent_once_and_collected_where_agreed(
    api: Api, office: Office, worker: Database, clock: ManualClock
) -> None:
    """One letter and one collection although the worker came twice; its link opens that invoice alone."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    invoice = await planting.invoice(worker, organization, number="FB-000007", at=clock.now(), minor=6000)
    await office.announce(outbox.INVOICE_ISSUED, organization, invoice=invoice)
    [letter] = await office.letters("invoice")
    assert letter["to"] == ada.email
    assert letter["context"]["total"] == {"currency": "USD", "minor": 6000}
    token = letter["context"]["invoice_url"].rpartition("/")[2]
    assert links.read(SECRET, token, now=clock.now()) == invoice
    with pytest.raises(links.InvalidLinkError):
        links.read(SECRET, token, now=clock.now() + links.LIFETIME)
    with pytest.raises(links.InvalidLinkError):
        links.read(SECRET, token.replace(invoice, "inv_00000000000000000000000000"), now=clock.now())
    async with worker.transaction() as session:
        collected = list(
            await session.scalars(
                text("SELECT payload ->> 'invoice' FROM outbox WHERE job = 'invoice.collect'")
            )
        )
    assert collected == [invoice]


async def test_the_billing_address_and_its_language_are_used(
    api: Api, office: Office, worker: Database, clock: ManualClock
) -> None:
    """Money is written to the billing address; a customer who pays by invoice is not charged."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    async with worker.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO billing_profiles (organization_id, legal_name, email, language) "
                "VALUES (:id, 'Motoren GmbH', 'rechnung@example.com', 'de-AT') ON CONFLICT (organization_id) "
                "DO UPDATE SET email = excluded.email, language = excluded.language"
            ),
            {"id": organization},
        )
    invoice = await planting.invoice(worker, organization, number="FB-000008", at=clock.now(), minor=100)
    await office.announce(outbox.INVOICE_ISSUED, organization, invoice=invoice)
    [letter] = await office.letters("invoice")
    assert (letter["to"], letter["language"]) == ("rechnung@example.com", "de-AT")


async def test_a_reminder_is_not_written_for_what_was_paid_meanwhile(
    api: Api, office: Office, worker: Database, clock: ManualClock
) -> None:
    """An invoice of nothing, or one that is paid, reminds nobody."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    nothing = await planting.invoice(worker, organization, number="FB-000009", at=clock.now(), minor=0)
    await office.announce(outbox.INVOICE_OVERDUE, organization, invoice=nothing, suspends_at=None)
    assert await office.letters("overdue") == []


async def test_a_new_key_is_told_to_the_owner_without_its_text(
    api: Api, office: Office, worker: Database
) -> None:
    """The owner and whoever issued it get one letter each; the text is nowhere in the outbox."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    eve = await api.sign_up("eve@example.com", "Elsewhere")
    await planting.join(worker, eve, organization, "member")
    member = await api.log_in("eve@example.com", ada.organization_id)
    key = (await api.post("/keys", {"name": "ci", "environment": "test"}, by=member)).data
    await office.announce(outbox.KEY_LEAKED, organization, key=key["id"][4:])
    created, leaked = await office.letters("key_created"), await office.letters("key_leaked")
    for letters in (created, leaked):
        assert sorted(each["to"] for each in letters) == ["ada@example.com", "eve@example.com"]
    assert created[0]["context"]["creator"] == "eve@example.com"
    async with worker.transaction() as session:
        everything = (await session.execute(text("SELECT payload::text FROM outbox"))).scalars().all()
    assert not any(key["key"] in each for each in everything)


async def test_an_event_of_a_row_that_is_gone_stands_as_a_failure(
    api: Api, office: Office, worker: Database, clock: ManualClock
) -> None:
    """It is tried again later and seen by people; nothing of it was written."""
    ada = await api.sign_up()
    organization = await planting.organization_uuid(worker, ada)
    await office.announce(outbox.KEY_CREATED, organization, key="0000000000")
    async with worker.transaction() as session:
        row = (
            await session.execute(
                text("SELECT done_at, last_error FROM outbox WHERE payload ->> 'key' = '0000000000'")
            )
        ).one()
    assert row.done_at is None
    assert "NoResultFound" in row.last_error
