"""Passwords: which are refused, and how the others are kept.

Kept as argon2id with OWASP's parameters (19 MiB, 2 passes, 1 lane:
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html). Hashing takes some 20 ms
of one core, so it runs in a few threads with a bounded queue: a flood of log-ins is turned away instead of
starving everything else. Leaked passwords are recognised offline; no password and no hash leaves the process.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from farebox.problems import BUSY, PASSWORD_TOO_WEAK, Refusal

MINIMUM_LENGTH: Final = 8
_SHORTEST_TELLING_PART: Final = 4

Result = TypeVar("Result")


class LeakedPasswords:
    """The most used leaked passwords of 8 characters and more."""

    def __init__(self) -> None:
        """Read the list that comes with the package."""
        text = resources.files("farebox.users").joinpath("leaked_passwords.txt").read_text(encoding="utf-8")
        self._known = frozenset(line for line in text.splitlines() if not line.startswith("#"))

    def __contains__(self, password: str) -> bool:
        """Tell whether the password is on the list, in whatever case."""
        return password.casefold() in self._known


def refuse_weak(password: str, *, leaked: LeakedPasswords, email: str, name: str, organization: str) -> None:
    """Raise `Refusal` 422 (`password_too_weak`) with the reason and the remedy."""
    reason = _weakness(password, leaked=leaked, personal=(email.partition("@")[0], email, name, organization))
    if reason is not None:
        raise Refusal(
            PASSWORD_TOO_WEAK, reason, details={"fields": [{"field": "password", "problem": reason}]}
        )


def _weakness(password: str, *, leaked: LeakedPasswords, personal: tuple[str, ...]) -> str | None:
    folded = password.casefold()
    if len(password) < MINIMUM_LENGTH:
        return f"must have at least {MINIMUM_LENGTH} characters"
    if len(set(folded)) < _SHORTEST_TELLING_PART:
        return "repeats a few characters only; choose another"
    if password in leaked:
        return "is one of the most used leaked passwords; choose another"
    for part in personal:
        told = part.casefold()
        if (
            len(told) >= _SHORTEST_TELLING_PART
            and told in folded
            and len(folded) - len(told) < MINIMUM_LENGTH
        ):
            return "is little more than the name or e-mail given; choose another"
    return None


class Passwords:
    """Hashes and verifies, in threads of its own. Close it with the process."""

    def __init__(self, *, threads: int = 2, waiting: int = 64) -> None:
        """Allow `threads` hashes at once and `waiting` more in the queue; beyond that, `Refusal` 503."""
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = threads + waiting
        self._taken = 0
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Return the hash to keep, with its salt and parameters (the PHC string format)."""
        return await self._in_thread(self._hasher.hash, _normal(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Tell whether the password is the one kept. Without one, take as long and say no."""
        matches = await self._in_thread(self._matches, kept or self._nobody, _normal(password))
        return matches and kept is not None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, function: Callable[..., Result], *arguments: str) -> Result:
        if self._taken >= self._places:
            raise Refusal(BUSY, headers={"Retry-After": "1"}, log="the argon2 queue is full")
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._taken -= 1


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)
