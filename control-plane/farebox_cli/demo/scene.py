"""What every chapter needs: the running stack, the account, and short ways to ask and to run commands."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from farebox.sandbox.mail import wait_for_mail
from farebox_cli.demo.caller import Caller, Crowd, Reply
from farebox_cli.demo.narration import Narrator, StoryFailedError
from farebox_cli.demo.traffic import Caller as Names
from farebox_cli.stack import Stack

EMAIL: Final = "ada@example.com"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - the demo's public log-in
_LOOK_SECONDS: Final = 0.05


@dataclass(slots=True)
class Account:
    """What the story has learned about its organization so far."""

    token: str = ""
    organization: str = ""
    key: str = ""
    key_id: str = ""
    test_key: str = ""
    test_key_id: str = ""
    billable: int = 0
    """Billable answers on the starter subscription, counted here as they arrived."""


@dataclass(slots=True)
class Scene:
    """The stage of the story."""

    stack: Stack
    narrator: Narrator
    caller: Caller
    folder: Path
    account: Account = field(default_factory=Account)
    crowd: Crowd | None = None

    async def api(self, method: str, path: str, *, body: object = None, quiet: bool = False) -> Reply:
        """Ask the control plane as the logged-in owner."""
        url = f"{self.stack.addresses.web}/api/v1{path}"
        return await self.caller.ask(method, url, token=self.account.token or None, body=body, quiet=quiet)

    async def send(self, *, key: str | None, text: str = "hello", quiet: bool = False) -> Reply:
        """Call the sold API through the gateway."""
        url = f"{self.stack.addresses.gateway}/v1/messages/send"
        return await self.caller.ask(
            "POST", url, key=key, body={"to": "+15550100", "text": text}, quiet=quiet
        )

    async def command(self, *arguments: str, quiet: bool = False) -> str:
        """Run `farebox …` as an operator of this installation would; return what it printed.

        Raises `StoryFailedError` unless it exits with 0.
        """
        if not quiet:
            self.narrator.command(("farebox", *arguments))
        status, out, err = await self.attempt(*arguments)
        if status:
            raise StoryFailedError(f"`farebox {' '.join(arguments)}` exited {status}: {err.strip()}")
        return out

    async def attempt(self, *arguments: str) -> tuple[int, str, str]:
        """Run `farebox …` silently; return its exit status, what it printed, and what it said of itself."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "farebox_cli",
            *arguments,
            env=self.stack.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def mail(self, subject: str, *, to: str = EMAIL) -> str:
        """Wait for the newest mail to this address whose subject holds `subject`, and return its text.

        Raises `StoryFailedError` if none comes.
        """
        try:
            mail = await wait_for_mail(
                Path(self.stack.addresses.mail_folder),
                to=to,
                matching=lambda found: subject in str(found["Subject"]),
            )
        except TimeoutError as error:
            raise StoryFailedError(f"no mail with “{subject}” in its subject came to {to}") from error
        self.narrator.say(f"mail arrived over SMTP: “{mail['Subject']}” to {mail['To']}")
        body = mail.get_body(("plain",))
        return body.get_content() if body else ""

    def link(self, letter: str) -> str:
        """Return the link to an invoice's own page that stands in a mail.

        Raises `StoryFailedError` if there is none.
        """
        found = re.search(rf"{re.escape(self.stack.addresses.web)}/invoices/\S+", letter)
        if found is None:
            raise StoryFailedError(f"the mail holds no link to an invoice's page: {letter}")
        return found[0]

    async def until(self, holds: Callable[[], Awaitable[bool]], *, seconds: float, what: str) -> float:
        """Look until it holds; return the seconds it took. Raises `StoryFailedError` after `seconds`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not await holds():
            if loop.time() - began > seconds:
                raise StoryFailedError(f"{what} did not happen within {seconds:g} seconds")
            await asyncio.sleep(_LOOK_SECONDS)
        return loop.time() - began

    async def until_refused(self, key: str, *, patience: float = 10.0) -> float:
        """Call with the key until it is answered 401; return the seconds it took."""

        async def refused() -> bool:
            return (await self.send(key=key, quiet=True)).status == 401

        return await self.until(refused, seconds=patience, what="the refusal of the key")

    async def names(self) -> Names:
        """Return what stands in the usage lines of this organization now, read from the newest line."""
        lines = Path(self.stack.addresses.usage_log).read_bytes().splitlines()
        newest = next(
            json.loads(line)
            for line in reversed(lines)
            if b'"org"' in line and self.account.key_id.encode() in line
        )
        return Names(
            organization=newest["org"],
            subscription=newest["sub"],
            group=newest["group"],
            live_key=self.account.key_id,
            test_key=self.account.test_key_id,
        )
