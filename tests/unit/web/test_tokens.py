"""Access tokens: only what we signed, for what we signed it, until it ends."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest

from farebox.problems import Refusal
from farebox.users.tokens import Principal, Tokens, WeakSecretError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "s" * 32
TOKENS = Tokens(SECRET, lifetime=timedelta(hours=1))
WHO = Principal(uuid4(), uuid4())
CLAIMS = {"iss": "farebox", "aud": "farebox-api", "sub": str(uuid4()), "iat": 0, "exp": 4_000_000_000}


def test_a_token_speaks_for_whom_it_was_issued() -> None:
    """User and organization come back, with an organization or without."""
    for who in (WHO, Principal(WHO.user_id, None)):
        assert TOKENS.read(TOKENS.issue(who, now=NOW).text, now=NOW) == who


def test_a_token_ends() -> None:
    """Also when it was read before: what is remembered of it is the signature, not the time."""
    token = TOKENS.issue(WHO, now=NOW)
    TOKENS.read(token.text, now=token.expires_at - timedelta(seconds=1))
    with pytest.raises(Refusal):
        TOKENS.read(token.text, now=token.expires_at)


def unsigned(claims: dict[str, object]) -> str:
    """A token whose header says that it needs no signature."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        + "."
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "a.b.c",
        "x" * 3000,
        unsigned(CLAIMS),
        jwt.encode(CLAIMS, "another secret of thirty-two chars", algorithm="HS256"),
        jwt.encode(CLAIMS, SECRET * 2, algorithm="HS512"),
        jwt.encode({**CLAIMS, "aud": "another"}, SECRET, algorithm="HS256"),
        jwt.encode({**CLAIMS, "iss": "another"}, SECRET, algorithm="HS256"),
        jwt.encode({**CLAIMS, "sub": "not a uuid"}, SECRET, algorithm="HS256"),
        jwt.encode({**CLAIMS, "org": 7}, SECRET, algorithm="HS256"),
        jwt.encode(
            {name: value for name, value in CLAIMS.items() if name != "exp"}, SECRET, algorithm="HS256"
        ),
    ],
    ids=lambda _: "token",
)
def test_anything_else_is_refused_alike(text: str) -> None:
    """One code and one message for the caller, whatever was wrong; the reason is for the log."""
    with pytest.raises(Refusal) as refused:
        TOKENS.read(text, now=NOW)
    assert refused.value.problem.code == "invalid_token"
    assert refused.value.message == refused.value.problem.message


def test_a_short_secret_is_refused() -> None:
    """RFC 7518, section 3.2: a key for HS256 has 256 bits at least."""
    with pytest.raises(WeakSecretError, match="openssl rand"):
        Tokens("x" * 31, lifetime=timedelta(hours=1))
    assert "x" not in repr(TOKENS.issue(WHO, now=NOW)).replace("expires", "")
