"""The declarative layer: what an endpoint is, and how every request runs through it.

An endpoint declares its method, path, who may call it, its models and its refusals, once. The router, the
OpenAPI document and the tests that walk every route are made from these declarations. One request is one
transaction: opened for the organization of the token, with the role looked up in the same round trip, and
ended before the answer leaves. Nothing here knows what the endpoints do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Generic
from uuid import UUID

from aiohttp import hdrs, web
from pydantic import BaseModel
from sqlalchemy import ClauseElement, text
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypeVar

from farebox import admission, idempotency, ids, problems
from farebox.availability import is_stale_connection
from farebox.fields import Nothing
from farebox.files import File
from farebox.files import answer as file_answer
from farebox.organizations.permissions import Permission, Role, allows
from farebox.problems import Problem, Refusal
from farebox.reading import Reader
from farebox.runtime import CLOCK, DATABASE, READING
from farebox.users.tokens import Principal
from farebox.web import Answer, envelope, json_response, read_body, read_query

PREFIX: Final = "/api/v1"
REQUEST_ID: Final = web.RequestKey("request_id", str)
_ENTER: Final = text("SELECT farebox_enter(:organization, :user)")
_OPERATE_WITHIN: Final = text("SELECT farebox_operator_enter_organization(:user, :public_id)")
_DRY_RUN_MESSAGE: Final = "Dry run, nothing was changed: "
_SECONDS_FOR_A_REQUEST: Final = 30.0


class Access(StrEnum):
    """Whom an endpoint answers."""

    PUBLIC = "public"
    USER = "user"
    MEMBER = "member"
    OPERATOR = "operator"


B = TypeVar("B", bound=BaseModel, default=Nothing)
Q = TypeVar("Q", bound=BaseModel, default=Nothing)
D = TypeVar("D", bound=BaseModel, default=Any)
Handler = Callable[["Call[B, Q]"], Awaitable[Answer[D]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[B, Q, D]):
    """One endpoint. `path` stands below /api/v1; `status` is that of success.

    `effect`: it changes something, so `Idempotency-Key` and `Dry-Run` mean something to it. `begins`: its
    transaction is open when the handler starts; otherwise the handler opens and ends its own (`Call.begin`,
    `Call.end`). `reads`: members GET it so often that it gets a `Reader` on the driver itself in place of a
    session. `guarded`: it takes or sends secrets, so it is limited by address and more tightly. `counted`:
    False for machines that prove themselves by a signature. `identifiers`: variables in the path and the
    prefix of the ids they take.
    """

    method: str
    path: str
    summary: str
    tag: str
    access: Access
    permission: Permission | None
    body: type[B]
    query: type[Q]
    data: type[D]
    status: int
    refusals: tuple[Problem, ...]
    effect: bool
    begins: bool
    reads: bool
    guarded: bool
    counted: bool
    identifiers: Mapping[str, str]
    handler: "Handler[B, Q, D]"

    @property
    def description(self) -> str:
        """What the handler's docstring says."""
        return " ".join((self.handler.__doc__ or "").split())


Endpoints = tuple[Endpoint[Any, Any, Any], ...]


def endpoint(
    method: str,
    path: str,
    summary: str,
    *,
    tag: str,
    data: type[D],
    access: Access = Access.MEMBER,
    permission: Permission | None = None,
    body: type[B] = Nothing,  # type: ignore[assignment]
    query: type[Q] = Nothing,  # type: ignore[assignment]
    status: int = 200,
    refusals: tuple[Problem, ...] = (),
    effect: bool | None = None,
    begins: bool = True,
    reads: bool = False,
    guarded: bool = False,
    counted: bool = True,
    identifiers: Mapping[str, str] | None = None,
) -> "Callable[[Handler[B, Q, D]], Endpoint[B, Q, D]]":
    """Declare an endpoint around its handler. Unless said otherwise, every method but GET has an effect."""
    if access is Access.MEMBER and permission is None:
        raise ValueError(f"{method} {path}: an endpoint for members names its permission")
    if reads and (access is not Access.MEMBER or method != hdrs.METH_GET):
        raise ValueError(f"{method} {path}: only what members GET is read on the driver itself")

    def declare(handler: "Handler[B, Q, D]") -> Endpoint[B, Q, D]:
        return Endpoint(
            method=method,
            path=path,
            summary=summary,
            tag=tag,
            access=access,
            permission=permission,
            body=body,
            query=query,
            data=data,
            status=status,
            refusals=refusals,
            effect=method != hdrs.METH_GET if effect is None else effect,
            begins=begins,
            reads=reads,
            guarded=guarded,
            counted=counted,
            identifiers=identifiers or {},
            handler=handler,
        )

    return declare


@dataclass(slots=True)
class Call(Generic[B, Q]):
    """One request, read: who asks, what he sent, and the transaction once it has begun."""

    request: web.Request
    endpoint: Endpoint[B, Q, Any]
    principal: Principal | None
    body: B
    query: Q
    now: datetime
    dry_run: bool
    idempotent: idempotency.Request | None
    stack: AsyncExitStack
    begun: AsyncSession | None = None
    reader_begun: Reader | None = None
    role_found: Role | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def session(self) -> AsyncSession:
        """The session of this request's transaction."""
        if self.begun is None:
            raise RuntimeError("the transaction has not begun")
        return self.begun

    async def rows(self, statement: ClauseElement, values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Run a read in this request's transaction, of whichever kind it is; rows are mappings."""
        if self.reader_begun is not None:
            return await self.reader_begun.rows(statement, values)
        return (await self.session.execute(statement, values)).mappings().all()  # type: ignore[call-overload,no-any-return]

    @property
    def user_id(self) -> UUID:
        """The user who asks."""
        if self.principal is None:
            raise RuntimeError("nobody is logged in on a public endpoint")
        return self.principal.user_id

    @property
    def organization_id(self) -> UUID:
        """The organization whose rows the transaction shows."""
        if self.principal is None or self.principal.organization_id is None:
            raise RuntimeError("this endpoint enters no organization")
        return self.principal.organization_id

    @property
    def role(self) -> Role:
        """The user's role in the organization, looked up in this transaction."""
        if self.role_found is None:
            raise RuntimeError("this endpoint enters no organization")
        return self.role_found

    def identifier(self, variable: str) -> str:
        """Return the id in the path without its prefix. Raises `Refusal` 404 for anything malformed."""
        try:
            return ids.strip(self.endpoint.identifiers[variable], self.request.match_info[variable])
        except ids.MalformedIdError as error:
            raise Refusal(problems.NOT_FOUND) from error

    def uuid(self, variable: str) -> UUID:
        """Return the UUID behind the id in the path. Raises `Refusal` 404 for anything malformed."""
        try:
            return ids.decode(self.endpoint.identifiers[variable], self.request.match_info[variable])
        except ids.MalformedIdError as error:
            raise Refusal(problems.NOT_FOUND) from error

    async def begin(self) -> AsyncSession:
        """Open the transaction, enter the organization, check the role, claim the idempotency key."""
        database = self.request.app[DATABASE]
        session = await self.stack.enter_async_context(database.transaction(dry_run=self.dry_run))
        if self.endpoint.access is Access.MEMBER:
            organization_id = self._carried()
            values = {"organization": organization_id, "user": self.user_id}
            self.role_found = self._admit(await session.scalar(_ENTER, values))
        elif self.endpoint.access is Access.OPERATOR:
            await admission.enter_as_operator(session, self.user_id)
        if self.idempotent is not None:
            await idempotency.claim(session, self.idempotent, now=self.now)
        self.begun = session
        return session

    async def end(self) -> None:
        """End the transaction before any network call; the handler then honours an idempotency key itself."""
        await self.stack.aclose()
        self.begun = None

    async def operate_within(self, public_id: str) -> UUID:
        """Enter an organization as an operator; from here on its rows can be written too.

        Takes the public id with or without `org_`. Raises `Refusal` 404 if there is no such organization.
        """
        values = {"user": self.user_id, "public_id": public_id.removeprefix("org_")}
        found: UUID | None = await self.session.scalar(_OPERATE_WITHIN, values)
        if found is None:
            raise Refusal(problems.NOT_FOUND, log=f"no organization {public_id!r}")
        return found

    async def begin_reading(self) -> None:
        """Open a read-only transaction, enter the organization, check the role."""
        organization_id = self._carried()
        reader = await self.stack.enter_async_context(self.request.app[READING].transaction())
        self.role_found = self._admit(await reader.enter(organization_id, self.user_id))
        self.reader_begun = reader

    def _carried(self) -> UUID:
        if self.principal is None or self.principal.organization_id is None:
            raise Refusal(problems.NO_ORGANIZATION)
        return self.principal.organization_id

    def _admit(self, found: str | None) -> Role:
        if found is None:
            raise Refusal(problems.NO_ORGANIZATION, log="the token's organization is not the user's any more")
        role = Role(found)
        permission = self.endpoint.permission
        if permission is not None and not allows(role, permission):
            raise Refusal(problems.FORBIDDEN, details={"role": role.value, "permission": permission.value})
        return role


def route(declared: Endpoint[Any, Any, Any]) -> web.RouteDef:
    """Return the aiohttp route of an endpoint."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await serve(declared, request)

    return web.route(declared.method, PREFIX + declared.path, handle, name=None)


async def serve(declared: Endpoint[Any, Any, Any], request: web.Request) -> web.Response:
    """Answer one request: authenticate, count, read, run, write."""
    now = request.app[CLOCK].now()
    principal = admission.authenticate(declared, request, now)
    if declared.counted:
        await admission.count(declared, request, principal, now)
    if declared.access is Access.OPERATOR:
        await admission.refuse_unless_operator(request, principal)
    body = await read_body(request, declared.body) if _takes_body(declared) else declared.body()
    query = read_query(request, declared.query)
    dry_run = declared.effect and admission.dry_run(request)
    idempotent = admission.idempotent(declared, request, principal, body)
    if dry_run:
        idempotent = None  # nothing is done, so nothing is remembered
    async with asyncio.timeout(_SECONDS_FOR_A_REQUEST):
        for last_try in (False, True):
            call = Call(request, declared, principal, body, query, now, dry_run, idempotent, AsyncExitStack())
            try:
                return await _run(call)
            except idempotency.AlreadyAnsweredError as before:
                return _replay(before)
            except Exception as error:
                # A pooled connection that died while it lay idle is no reason to refuse anybody.
                if last_try or call.begun is not None or not is_stale_connection(error):
                    raise
    raise RuntimeError("unreachable: the last try returns or raises")


async def _run(call: Call[Any, Any]) -> web.Response:
    declared = call.endpoint
    async with call.stack:
        if declared.reads:
            await call.begin_reading()
        elif declared.begins:
            await call.begin()
        answer = await declared.handler(call)
        status = answer.status or declared.status
        if isinstance(answer.data, File):
            return file_answer(answer.data, status=status)
        message = _DRY_RUN_MESSAGE + answer.message if call.dry_run else answer.message
        written = envelope(message, answer.data)
        if call.idempotent is not None and call.begun is not None:
            kept = written
            if answer.kept is not None:
                kept = envelope(answer.kept_message or answer.message, answer.kept)
            await idempotency.remember(call.begun, call.idempotent, status=status, answer=kept, now=call.now)
    headers = {**answer.headers, "Dry-Run": "true"} if call.dry_run else answer.headers
    return json_response(written, status=status, headers=headers)


def _replay(before: idempotency.AlreadyAnsweredError) -> web.Response:
    body = envelope(before.answer["message"], before.answer["data"])
    return json_response(body, status=before.status, headers={"Idempotency-Replayed": "true"})


def _takes_body(declared: Endpoint[Any, Any, Any]) -> bool:
    return declared.method in {hdrs.METH_POST, hdrs.METH_PATCH, hdrs.METH_PUT}
