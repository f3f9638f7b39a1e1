"""Which passwords are refused, and how the others are kept."""

import pytest

from farebox.problems import Refusal
from farebox.users.passwords import LeakedPasswords, Passwords, refuse_weak

LEAKED = LeakedPasswords()


@pytest.mark.parametrize(
    "password",
    ["1234567", "password1", "PASSWORD1", "iloveyou", "aaaaaaaaaaaaaaaa", "ababababab", "lovelace",
     "lovelace99", "ada.lovelace@example.com", "analytical"],
)  # fmt: skip
def test_weak_passwords_are_refused(password: str) -> None:
    """Short, leaked, repeating, or little more than what everybody knows of the person."""
    with pytest.raises(Refusal, match=r"characters|leaked|repeats|little more"):
        refuse_weak(
            password,
            leaked=LEAKED,
            email="lovelace@example.com",
            name="Ada Lovelace",
            organization="Analytical",
        )


@pytest.mark.parametrize(
    "password", ["correct horse battery staple", "пароль очень длинный", "x7#Kq!m2Zp", "a b c d e f"]
)
def test_other_passwords_are_taken(password: str) -> None:
    """No rules about kinds of characters: length and not being known are what counts."""
    refuse_weak(password, leaked=LEAKED, email="ada@example.com", name="Ada", organization="Engines")


async def test_a_hash_verifies_its_password_alone() -> None:
    """argon2id with 19 MiB, 2 passes, 1 lane; the same text in another Unicode form is the same password."""
    passwords = Passwords(threads=1)
    kept = await passwords.hash("Z\u00fcrich is nice")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify(kept, "Zu\u0308rich is nice")
    assert not await passwords.verify(kept, "Zurich is nice")
    assert not await passwords.verify(None, "nobody has this password")
    assert not await passwords.verify("not a hash", "x")
    passwords.close()


async def test_a_flood_is_turned_away() -> None:
    """Beyond the threads and the queue a log-in is refused at once instead of waiting."""
    passwords = Passwords(threads=1, waiting=0)
    first = passwords.hash("one")
    first.send(None)
    with pytest.raises(Refusal) as refused:
        await passwords.hash("two")
    assert (refused.value.problem.code, refused.value.headers) == ("too_busy", {"Retry-After": "1"})
    first.close()
    passwords.close()
