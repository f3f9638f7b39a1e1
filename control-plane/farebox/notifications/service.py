"""Mail: made from templates and sent by SMTP, by the job that the outbox names.

A payload carries no secret. The token of a verification mail is made here, when the mail is made, and kept
as its SHA-256; a job that runs twice sends a second token, which does no harm. Knows nothing of the outbox.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

import aiosmtplib
import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from farebox.clock import Clock
from farebox.db import Database
from farebox.settings import Settings
from farebox.users import service as users

TEMPLATES: Final = ("verify_email", "welcome")
_TIMEOUT: Final = 20.0
log = structlog.get_logger(__name__)


class UnknownTemplateError(LookupError):
    """No mail has this name."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as text and as HTML. `repr` shows neither: it may hold a token."""

    subject: str
    text: str
    html: str

    def __repr__(self) -> str:
        """Show the subject alone."""
        return f"Letter({self.subject!r})"


async def deliver(
    database: Database,
    settings: Settings,
    clock: Clock,
    *,
    template: str,
    to: str,
    context: Mapping[str, Any],
    organization_id: UUID | None = None,
) -> bool:
    """Make one mail and send it; False when there was nothing to send (any more).

    `database` is the worker's. Raises `UnknownTemplateError`, and `aiosmtplib.SMTPException` or `OSError`
    when the mail server refuses or is away: the job is then tried again.
    """
    if template not in TEMPLATES:
        raise UnknownTemplateError(f"there is no mail {template!r}; there are: {', '.join(TEMPLATES)}")
    values = dict(context)
    if template == "verify_email":
        async with database.transaction() as session:
            made = await users.verification_token(session, to, now=clock.now())
        if made is None:
            log.info("mail_not_needed", template=template)
            return False
        user, token = made
        values |= {"name": user.name, "token": token}
    letter = render(template, {**values, "public_url": settings.public_url.rstrip("/")})
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


def render(template: str, values: Mapping[str, Any]) -> Letter:
    """Fill the templates `<template>.txt`, whose first line is the subject, and `<template>.html`."""
    text = _environment().get_template(f"{template}.txt").render(values)
    subject, _, body = text.partition("\n")
    html = _environment().get_template(f"{template}.html").render({**values, "subject": subject})
    return Letter(subject.strip(), body.strip() + "\n", html)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("farebox.notifications"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quote"] = lambda text: quote(text, safe="")
    return environment


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
