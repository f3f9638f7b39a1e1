"""A mail server that takes every mail and delivers it into a folder, for trying and testing.

Knows SMTP and files; refuses to relay anything anywhere.
"""

import asyncio
import email
import email.message
import email.policy
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_MAIL_BYTES: Final = 25 * 1024 * 1024
_LOOK_SECONDS: Final = 0.02


class FolderDelivery:
    """Writes each mail to a file of its own, complete from the moment it can be seen."""

    def __init__(self, folder: Path) -> None:
        """Deliver into `folder`, which is made if it is missing."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = itertools.count()

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Accept the mail once it is on disk."""
        content = envelope.original_content or b""
        heads = [f"X-Envelope-From: {envelope.mail_from}"]
        heads += [f"X-Envelope-To: {recipient}" for recipient in envelope.rcpt_tos]
        name = f"{time.time_ns():020d}-{next(self._numbers):06d}.eml"
        await asyncio.to_thread(self._write, name, "\r\n".join(heads).encode() + b"\r\n" + content)
        return f"250 Delivered as {name}"

    def _write(self, name: str, content: bytes) -> None:
        draft = self._folder / f".{name}"
        draft.write_bytes(content)
        draft.rename(self._folder / name)


@asynccontextmanager
async def mail_sink(folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Run the server for the length of the block; yields its port."""
    delivery = FolderDelivery(folder)
    loop = asyncio.get_running_loop()

    def protocol() -> Any:
        return SMTP(
            delivery,
            hostname="farebox.invalid",
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            loop=loop,
        )

    server = await loop.create_server(protocol, host, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


def mails(folder: Path) -> list[email.message.EmailMessage]:
    """Every mail in the folder, oldest first."""
    parsed = (
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in sorted(folder.glob("[0-9]*.eml"))
    )
    return [mail for mail in parsed if isinstance(mail, email.message.EmailMessage)]


async def wait_for_mail(
    folder: Path,
    *,
    to: str,
    matching: Callable[[email.message.EmailMessage], bool] = lambda _mail: True,
    seconds: float = 20.0,
) -> email.message.EmailMessage:
    """The newest mail to this address that matches, as soon as there is one; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            found = [
                mail
                for mail in await asyncio.to_thread(mails, folder)
                if to in (mail.get_all("X-Envelope-To") or []) and matching(mail)
            ]
            if found:
                return found[-1]
            await asyncio.sleep(_LOOK_SECONDS)
