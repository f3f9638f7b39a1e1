"""Mail: made from its letter and sent by SMTP, by the job that the outbox names.

A payload carries no secret. The token of a verification mail is made here, when the mail is made, and kept
as its SHA-256; a job that runs twice sends a second token, which does no harm. Knows nothing of the outbox.
"""

import asyncio
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib
import structlog

from farebox.clock import Clock
from farebox.db import Database
from farebox.notifications.letters import LETTERS, Letter, UnknownTemplateError, render
from farebox.settings import Settings
from farebox.users import service as users

_TIMEOUT: Final = 20.0
log = structlog.get_logger(__name__)


async def deliver(
    database: Database,
    settings: Settings,
    clock: Clock,
    *,
    template: str,
    to: str,
    context: Mapping[str, Any],
    language: str | None = None,
    organization_id: UUID | None = None,
) -> bool:
    """Make one mail and send it; False when there was nothing to send (any more).

    `database` is the worker's. Raises `UnknownTemplateError`, and `aiosmtplib.SMTPException` or `OSError`
    when the mail server refuses or is away: the job is then tried again.
    """
    if template not in LETTERS:
        raise UnknownTemplateError(f"there is no mail {template!r}; there are: {', '.join(LETTERS)}")
    values: dict[str, Any] = {"name": "", **context}
    if template == "verify_email":
        async with database.transaction() as session:
            made = await users.verification_token(session, to, now=clock.now())
        if made is None:
            log.info("mail_not_needed", template=template)
            return False
        user, token = made
        values |= {"name": user.name, "token": token}
    known = {"public_url": settings.public_url.rstrip("/"), "product": settings.issuer}
    letter = render(template, {**values, **known}, language=language)
    try:
        await _send(settings, _message(settings, letter, to=to, clock=clock))
    except (aiosmtplib.SMTPException, OSError):
        if "token" in values:
            # A token that reached nobody must not count as a mail that went out just now.
            async with database.transaction() as session:
                await users.forget_token(session, values["token"])
        raise
    log.info(
        "mail_sent", template=template, organization_id=str(organization_id) if organization_id else None
    )
    return True


def _message(settings: Settings, letter: Letter, *, to: str, clock: Clock) -> EmailMessage:
    name, address = parseaddr(settings.mail_from)
    local, _, domain = address.rpartition("@")
    message = EmailMessage()
    message["From"] = Address(display_name=name, username=local, domain=domain)
    message["To"] = to
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = make_msgid(domain=domain)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return message


async def _send(settings: Settings, message: EmailMessage) -> None:
    server = urlsplit(settings.smtp_url.get_secret_value())
    async with asyncio.timeout(_TIMEOUT):
        await aiosmtplib.send(
            message,
            hostname=server.hostname or "127.0.0.1",
            port=server.port,
            username=unquote(server.username) if server.username else None,
            password=unquote(server.password) if server.password else None,
            use_tls=server.scheme == "smtps",
            timeout=_TIMEOUT,
        )
