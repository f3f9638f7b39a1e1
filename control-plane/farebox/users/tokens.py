"""Access tokens: JWT, HS256 and nothing else, carrying one user and at most one organization.

A token says who asks and in which organization he means to act. What he may do there is looked up at each
request; a token that names an organization he has left opens nothing.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import jwt

from farebox.problems import INVALID_TOKEN, Refusal

ISSUER: Final = "farebox"
AUDIENCE: Final = "farebox-api"
MINIMUM_SECRET_LENGTH: Final = 32
_ALGORITHM: Final = "HS256"
_MAX_LENGTH: Final = 2048
_REMEMBERED: Final = 10_000


class WeakSecretError(RuntimeError):
    """FAREBOX_TOKEN_SECRET is missing or too short."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token speaks for."""

    user_id: UUID
    organization_id: UUID | None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token and when it ends. `repr` hides the text: reprs reach logs."""

    text: str
    expires_at: datetime

    def __repr__(self) -> str:
        """Show when it ends, never the text."""
        return f"AccessToken(expires_at={self.expires_at!r})"


class Tokens:
    """Signs and reads access tokens with one secret."""

    def __init__(self, secret: str, *, lifetime: timedelta) -> None:
        """Raise `WeakSecretError` unless the secret has 32 characters or more (HS256, RFC 7518, 3.2)."""
        if len(secret) < MINIMUM_SECRET_LENGTH:
            raise WeakSecretError(
                f"FAREBOX_TOKEN_SECRET has {len(secret)} characters; set at least {MINIMUM_SECRET_LENGTH} "
                "random ones, for example from `openssl rand -hex 32`"
            )
        self._secret = secret
        self._lifetime = lifetime
        # What a signature says of a text never changes; only whether it has expired is asked anew.
        self._known: OrderedDict[str, tuple[Principal, int]] = OrderedDict()

    def issue(self, principal: Principal, *, now: datetime) -> AccessToken:
        """Sign a token that is valid from `now` for the lifetime."""
        expires_at = (now + self._lifetime).replace(microsecond=0)
        claims: dict[str, str | int] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(principal.user_id),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        if principal.organization_id is not None:
            claims["org"] = str(principal.organization_id)
        return AccessToken(jwt.encode(claims, self._secret, algorithm=_ALGORITHM), expires_at)

    def read(self, text: str, *, now: datetime) -> Principal:
        """Return who the token speaks for. Raises `Refusal` 401 (`invalid_token`), the reason only logged."""
        if len(text) > _MAX_LENGTH:
            raise Refusal(INVALID_TOKEN, log="token too long")
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._verify(text)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        principal, expires_at = known
        if expires_at <= now.timestamp():
            raise Refusal(INVALID_TOKEN, log="token expired")
        return principal

    def _verify(self, text: str) -> tuple[Principal, int]:
        try:
            claims = jwt.decode(
                text,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={
                    "require": ["exp", "iat", "sub", "iss", "aud"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            organization = claims.get("org")
            principal = Principal(
                UUID(claims["sub"]), UUID(organization) if organization is not None else None
            )
            return principal, int(claims["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
            raise Refusal(INVALID_TOKEN, log=f"token refused: {type(error).__name__}") from error
