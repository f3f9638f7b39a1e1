"""Verifying an e-mail: by a real mail through a real server, once, within a day, telling nobody anything."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import aiosmtplib
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.notifications.letters import UnknownTemplateError
from farebox.notifications.service import deliver
from farebox.outbox import OutboxRow
from farebox.sandbox.mail import mail_sink
from farebox.settings import Settings
from farebox_cli.servers.process import free_port


class Mailbox:
    """A folder that a mail server delivers into, and the job that sends."""

    def __init__(self, folder: Path, worker: Database, settings: Settings, clock: ManualClock) -> None:
        self._folder, self._worker, self._settings, self._clock = folder, worker, settings, clock

    async def work(self) -> list[bool]:
        """Do every mail job that waits, as the worker would."""
        async with self._worker.transaction() as session:
            waiting = select(OutboxRow).where(OutboxRow.job == "mail.send", OutboxRow.done_at.is_(None))
            rows = list(await session.scalars(waiting.order_by(OutboxRow.id)))
            for row in rows:
                row.done_at = self._clock.now()
        return [
            await deliver(self._worker, self._settings, self._clock, organization_id=None, **row.payload)
            for row in rows
        ]

    def mails(self) -> list[EmailMessage]:
        """Everything delivered, oldest first."""
        return [
            message_from_bytes(path.read_bytes(), EmailMessage, policy=default)
            for path in sorted(self._folder.glob("*.eml"))
        ]

    def text(self) -> str:
        """What the last mail says to whoever reads plain text."""
        part = self.mails()[-1].get_body(("plain",))
        assert isinstance(part, EmailMessage)
        return str(part.get_content()).replace("\r\n", "\n")

    def token(self) -> str:
        """The token in the last mail."""
        found = re.search(r"^token: (\S+)$", self.text(), re.MULTILINE)
        assert found is not None
        return found[1]


@pytest.fixture
async def mailbox(
    tmp_path: Path, worker: Database, settings: Settings, clock: ManualClock
) -> AsyncIterator[Mailbox]:
    """A mailbox behind a real mail server."""
    async with mail_sink(tmp_path / "mail") as port:
        reached = settings.model_copy(
            update={"smtp_url": type(settings.smtp_url)(f"smtp://127.0.0.1:{port}")}
        )
        yield Mailbox(tmp_path / "mail", worker, reached, clock)


async def test_the_mail_verifies_once(api: Api, mailbox: Mailbox, worker: Database) -> None:
    """The token arrives by mail alone, works once, and is kept as a digest only; then a welcome follows."""
    ada = await api.sign_up()
    assert await mailbox.work() == [True]
    token = mailbox.token()
    async with worker.transaction() as session:
        kept = str((await session.execute(text("SELECT * FROM email_verifications"))).all())
        queued = str((await session.execute(text("SELECT payload FROM outbox"))).all())
    assert token not in kept + queued
    assert (await api.post("/auth/verify-email", {"token": token})).data["email_verified"] is True
    assert (await api.get("/auth/me", by=ada)).data["user"]["email_verified"] is True
    assert (await api.post("/auth/verify-email", {"token": token})).code == "verification_token_invalid"
    assert await mailbox.work() == [True]
    assert mailbox.mails()[-1]["Subject"] == "Welcome to Farebox"
    assert mailbox.mails()[0]["To"] == "ada@example.com"


async def test_a_token_ends_after_a_day(api: Api, mailbox: Mailbox, clock: ManualClock) -> None:
    """Twenty-four hours, and no longer; a new one can be had."""
    await api.sign_up()
    await mailbox.work()
    old = mailbox.token()
    clock.advance(timedelta(hours=24))
    assert (await api.post("/auth/verify-email", {"token": old})).code == "verification_token_invalid"
    await api.post("/auth/request-email-verification", {"email": "ada@example.com"})
    assert await mailbox.work() == [True]
    assert (await api.post("/auth/verify-email", {"token": mailbox.token()})).status == 200


async def test_using_one_token_ends_the_others(api: Api, mailbox: Mailbox, clock: ManualClock) -> None:
    """No second token lives on after the e-mail is verified."""
    await api.sign_up()
    await mailbox.work()
    first = mailbox.token()
    clock.advance(timedelta(minutes=2))
    await api.post("/auth/request-email-verification", {"email": "ada@example.com"})
    await mailbox.work()
    assert (await api.post("/auth/verify-email", {"token": mailbox.token()})).status == 200
    assert (await api.post("/auth/verify-email", {"token": first})).status == 400


async def test_asking_for_the_mail_tells_nothing(api: Api, mailbox: Mailbox, worker: Database) -> None:
    """Known, unknown and verified e-mails are answered alike and cost the same; only the known gets mail."""
    await api.sign_up()
    await mailbox.work()
    known = await api.post("/auth/request-email-verification", {"email": "ada@example.com"})
    unknown = await api.post("/auth/request-email-verification", {"email": "eve@example.com"})
    assert (known.status, known.body) == (unknown.status, unknown.body)
    assert known.status == 202
    async with worker.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM outbox WHERE job = 'mail.send'")) == 3
    assert await mailbox.work() == [
        False,
        False,
    ]  # the first within a minute of another, the second for nobody
    assert len(mailbox.mails()) == 1


async def test_two_jobs_at_once_are_harmless(api: Api, mailbox: Mailbox) -> None:
    """A job that runs twice sends at most one mail more, and every token in them works until one is used."""
    await api.sign_up()
    await asyncio.gather(mailbox.work(), mailbox.work())
    assert (await api.post("/auth/verify-email", {"token": mailbox.token()})).status == 200


async def test_the_link_in_the_mail_shows_a_button(api: Api, mailbox: Mailbox) -> None:
    """Following the link uses nothing up (mail scanners do it); pressing the button verifies."""
    ada = await api.sign_up()
    await mailbox.work()
    link = urlsplit(re.findall(r"^http\S+$", mailbox.text(), re.MULTILINE)[0])
    token = parse_qs(link.query)["token"][0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{api.address}{link.path}?{link.query}") as page:
            assert page.status == 200
            assert token in await page.text()
        assert (await api.get("/auth/me", by=ada)).data["user"]["email_verified"] is False
        async with session.post(f"{api.address}{link.path}", data={"token": token}) as page:
            assert "is verified" in await page.text()
        async with session.post(f"{api.address}{link.path}", data={"token": token}) as page:
            assert page.status == 400
        async with session.get(f"{api.address}{link.path}?token=%22%3E%3Cscript%3E") as page:
            assert "<script>" not in await page.text()
    assert (await api.get("/auth/me", by=ada)).data["user"]["email_verified"] is True


async def test_a_mail_that_does_not_exist_is_an_error(
    mailbox: Mailbox, worker: Database, settings: Settings, clock: ManualClock
) -> None:
    """A job with an unknown template fails loudly."""
    with pytest.raises(UnknownTemplateError):
        await deliver(worker, settings, clock, template="nope", to="a@b.cd", context={}, organization_id=None)


async def test_a_mail_that_could_not_be_sent_is_sent_at_the_next_try(
    api: Api, worker: Database, settings: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    """A token that reached nobody does not count as a mail that went out just now: no mail is lost."""
    ada = await api.sign_up()
    async with worker.transaction() as session:
        await session.execute(text("DELETE FROM email_verifications"))
    mail: dict[str, Any] = {"template": "verify_email", "to": ada.email, "context": {}}
    async with worker.transaction() as session:
        await session.execute(text("UPDATE users SET email_verified_at = NULL"))
    away = settings.model_copy(update={"smtp_url": SecretStr(f"smtp://127.0.0.1:{free_port()}")})
    with pytest.raises((OSError, aiosmtplib.SMTPException)):
        await deliver(worker, away, clock, **mail)
    async with mail_sink(tmp_path / "mails") as port:
        back = settings.model_copy(update={"smtp_url": SecretStr(f"smtp://127.0.0.1:{port}")})
        assert await deliver(worker, back, clock, **mail)
    assert len(list((tmp_path / "mails").glob("*.eml"))) == 1
