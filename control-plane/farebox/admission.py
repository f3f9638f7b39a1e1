"""What a request passes before its handler: who asks, how often, as an operator, for real, and once.

In this order, so that nobody learns what a body should have looked like where he has nothing to ask.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from aiohttp import hdrs, web
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import idempotency, problems
from farebox.addresses import caller_address
from farebox.problems import Refusal
from farebox.runtime import DATABASE, RATES, SETTINGS, TOKENS
from farebox.users.tokens import Principal

if TYPE_CHECKING:
    from farebox.endpoints import Endpoint

CALLER: Final = web.RequestKey("caller", str)
LIMIT_HEADERS: Final = web.RequestKey[Mapping[str, str]]("limit_headers", Mapping)
_ENTER_AS_OPERATOR: Final = text("SELECT farebox_enter_operator(:user)")


def authenticate(
    declared: "Endpoint[Any, Any, Any]", request: web.Request, now: datetime
) -> Principal | None:
    """Return who asks by his access token; None where everybody may. Raises `Refusal` 401."""
    if declared.access == "public":
        return None
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        raise Refusal(problems.UNAUTHENTICATED, headers={"WWW-Authenticate": "Bearer"})
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refusal(problems.UNAUTHENTICATED, headers={"WWW-Authenticate": "Bearer"})
    try:
        return request.app[TOKENS].read(token.strip(), now=now)
    except Refusal as refusal:
        refusal.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        raise


async def count(
    declared: "Endpoint[Any, Any, Any]", request: web.Request, principal: Principal | None, now: datetime
) -> None:
    """Count the request against its caller's rate. Raises `Refusal` 429."""
    settings = request.app[SETTINGS]
    if principal is None:
        address = caller_address(request, settings.trusted_proxies)
        policy = "auth" if declared.guarded else "public"
        limit = settings.auth_rate_limit if declared.guarded else settings.api_rate_limit
        caller = f"{policy}:{address}"
    else:
        policy, caller, limit = "api", f"user:{principal.user_id}", settings.api_rate_limit
    request[CALLER] = caller
    reads = declared.method == hdrs.METH_GET and principal is not None
    allowance = await request.app[RATES].take(caller, limit=limit, may_pass_uncounted=reads)
    headers = allowance.headers(policy, unix_now=now.timestamp())
    request[LIMIT_HEADERS] = headers
    if not allowance.allowed:
        raise Refusal(problems.RATE_LIMITED, details={"retry_after": allowance.resets_in}, headers=headers)


def dry_run(request: web.Request) -> bool:
    """Tell whether the request is only to be rehearsed. Raises `Refusal` 400 for any other header."""
    header = request.headers.get("Dry-Run", "false").strip()
    if header not in {"true", "false"}:
        raise Refusal(problems.DRY_RUN_INVALID)
    return header == "true"


def idempotent(
    declared: "Endpoint[Any, Any, Any]", request: web.Request, principal: Principal | None, body: BaseModel
) -> idempotency.Request | None:
    """Return what the request is remembered by, or None where it is not. Raises `Refusal` 400."""
    header = request.headers.get("Idempotency-Key")
    if header is None or declared.method != hdrs.METH_POST:
        return None
    key = idempotency.read_key(header)
    if not declared.effect:
        return None
    settings = request.app[SETTINGS]
    if principal is None:
        who = caller_address(request, settings.trusted_proxies)
    else:
        organization = principal.organization_id.hex if principal.organization_id else ""
        who = f"{principal.user_id.hex}@{organization}"
    payload = request.query_string.encode() + b"\n" + body.model_dump_json().encode()
    return idempotency.Request(
        scope=f"{who} {declared.method} {request.path}"[:200],
        key=key,
        digest=idempotency.digest(settings.token_secret.get_secret_value(), payload),
    )


async def enter_as_operator(session: AsyncSession, user_id: UUID) -> None:
    """Open all organizations for reading to this transaction. Raises `Refusal` 403 for anybody else."""
    if not await session.scalar(_ENTER_AS_OPERATOR, {"user": user_id}):
        raise Refusal(problems.OPERATORS_ONLY)


async def refuse_unless_operator(request: web.Request, principal: Principal | None) -> None:
    """Raise `Refusal` 403 before anything of the request is read."""
    if principal is None:
        raise Refusal(problems.OPERATORS_ONLY)
    async with request.app[DATABASE].transaction() as session:
        await enter_as_operator(session, principal.user_id)
