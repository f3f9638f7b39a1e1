"""Stripe over HTTP: keys, versions, idempotency and faults around the endpoints; one request, one
transaction.

https://docs.stripe.com/api/authentication, /errors, /idempotent_requests, /versioning
"""

import asyncio
import copy
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import aiohttp
import stripe
from aiohttp import web

from farebox.sandbox.faults import Fault, crash, cut, take
from farebox.sandbox.store import Answer, Obj
from farebox.sandbox.stripe import forms, parameters
from farebox.sandbox.stripe.call import Call, Endpoint, shown
from farebox.sandbox.stripe.catalogue import ENDPOINTS, VIRTUAL
from farebox.sandbox.stripe.errors import Refusal
from farebox.sandbox.stripe.expanding import expanded
from farebox.sandbox.world import World

API_VERSION: Final = stripe.api_version
_KEPT_SECONDS: Final = 86_400
_BROKEN: Final = {
    "error": {"message": "An unknown error occurred. Feel free to contact us.", "type": "api_error"}
}


@dataclass(frozen=True, slots=True)
class _Request:
    """What arrived, read once."""

    method: str
    path: str
    text: str
    headers: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """The same for the same request."""
        return sha256(f"{self.method} {self.path}\n{self.text}".encode()).hexdigest()


class StripeServer:
    """Answers under `/v1/`."""

    def __init__(self, world: World) -> None:
        """Serve this world."""
        self._world = world
        self._in_flight: set[str] = set()
        self._routes = [(re.compile(_pattern(endpoint.path)), endpoint) for endpoint in ENDPOINTS]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, with whatever fault was ordered for it."""
        raw = await request.read()
        text = request.query_string if request.method in {"GET", "DELETE"} else raw.decode("utf-8", "replace")
        arrived = _Request(request.method, request.path, text, request.headers)
        fault = take(self._world, request.method, request.path)
        if fault is not None and (answer := await self._before(fault, request)) is not None:
            return answer
        status, body, replayed = await self._answer(arrived, request.content_type, fault)
        if fault is not None:
            await self._after(fault, request)
        headers = {"Request-Id": f"req_{secrets.token_hex(7)}", "Stripe-Version": API_VERSION}
        if key := request.headers.get("Idempotency-Key"):
            headers["Idempotency-Key"] = key
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    async def _before(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        """A fault that strikes before any work is done."""
        if fault.kind == "down":
            return cut(request)
        if fault.kind == "crash_before":
            crash()
        if fault.kind == "error_before":
            return web.json_response(_BROKEN, status=fault.status)
        if fault.kind == "rate_limited":
            body = {
                "error": {
                    "message": "Too many requests hit the API too quickly.",
                    "type": "invalid_request_error",
                    "code": "rate_limit",
                }
            }
            return web.json_response(body, status=429, headers={"Retry-After": "1"})
        return None

    async def _after(self, fault: Fault, request: web.Request) -> None:
        """A fault that strikes when the work is done and on disk."""
        if fault.kind == "crash_after":
            crash()
        if fault.kind == "lost_answer":
            cut(request)
        if fault.kind == "slow_answer":
            await asyncio.sleep(fault.seconds)

    async def _answer(
        self, request: _Request, content_type: str, fault: Fault | None
    ) -> tuple[int, bytes, bool]:
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        try:
            publishable = self._authenticate(request.headers)
            self._check_version(request.headers)
            if (
                request.text
                and request.method == "POST"
                and content_type != "application/x-www-form-urlencoded"
            ):
                raise Refusal(  # noqa: TRY301 - answered like every refusal, below
                    400,
                    "Invalid request (check that your POST content type is "
                    "application/x-www-form-urlencoded).",
                )
            if key is not None and (known := self._known(key, request)) is not None:
                return known.status, known.body, True
            if key is not None:
                self._in_flight.add(key)
            try:
                if fault is not None and fault.kind == "slow":
                    await asyncio.sleep(fault.seconds)
                status, body = self._work(request, publishable=publishable, key=key, fault=fault)
                return status, body, False
            finally:
                if key is not None:
                    self._in_flight.discard(key)
        except Refusal as refusal:
            return refusal.status, _encoded(shown(refusal.body())), False

    def _authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the key is the publishable one; Refusal 401 for any other than our two."""
        authorization = headers.get("Authorization", "")
        scheme, _, given = authorization.partition(" ")
        if scheme == "Basic":
            try:
                given = aiohttp.BasicAuth.decode(authorization).login
            except ValueError:
                given = ""
        given = given.strip()
        if not given:
            raise Refusal(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization "
                "header, "
                "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            )
        keys = self._world.keys
        if hmac.compare_digest(given.encode(), keys.stripe_secret_key.encode()):
            return False
        if hmac.compare_digest(given.encode(), keys.stripe_publishable_key.encode()):
            return True
        hidden = f"{given[:8]}{'*' * 8}{given[-4:]}" if len(given) > 16 else "*" * 8
        raise Refusal(401, f"Invalid API Key provided: {hidden}")

    def _check_version(self, headers: Mapping[str, str]) -> None:
        version = headers.get("Stripe-Version", API_VERSION)
        if version != API_VERSION:
            raise Refusal(
                400,
                f"Invalid Stripe API version: {version}. The sandbox speaks {API_VERSION}, the version "
                "of the SDK.",
            )

    def _known(self, key: str, request: _Request) -> Answer | None:
        """What this key was answered; Refusal for another body, or while the first is in flight."""
        if len(key) > 255:
            raise Refusal(400, "Idempotency keys have at most 255 characters.")
        if key in self._in_flight:
            raise Refusal(
                409,
                f"There is currently another in-progress request using this Idempotent Key ({key}). "
                "Please try "
                "again later.",
                code="idempotency_key_in_use",
            )
        self._world.store.change("DELETE FROM answers WHERE created < ?", self._world.now() - _KEPT_SECONDS)
        known = self._world.store.answer(key)
        if known is not None and known.fingerprint != request.fingerprint:
            raise Refusal(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used "
                f"with. Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        return known

    def _work(
        self, request: _Request, *, publishable: bool, key: str | None, fault: Fault | None
    ) -> tuple[int, bytes]:
        endpoint, named = self._route(request)
        if publishable and not endpoint.publishable:
            raise Refusal(
                401,
                "This API call cannot be made with a publishable API key. Please use a secret API key.",
                code="secret_key_required",
            )
        given = forms.parse(request.text)
        also = {name: given.pop(name) for name in endpoint.also & given.keys()}
        params = {**parameters.read(endpoint.typed, given), **also}
        endpoint.refuse_unsimulated(params)
        call = Call(self._world, params, named, publishable)
        store, status = self._world.store, 200
        with store.transaction():
            try:
                made = expanded(call, copy.deepcopy(endpoint.handler(call)), VIRTUAL)
                body = _encoded(shown(made))
            except Refusal as refusal:
                if not refusal.kept:
                    raise
                status, body = refusal.status, _encoded(shown(refusal.body()))
            if fault is not None and fault.kind == "error_after":
                status, body = fault.status, _encoded(_BROKEN)  # Stripe keeps its own 500 under the key too
            if key is not None:
                store.remember(key, Answer(request.fingerprint, status, body), now=self._world.now())
        return status, body

    def _route(self, request: _Request) -> tuple[Endpoint, Mapping[str, str]]:
        for pattern, endpoint in self._routes:
            if endpoint.method == request.method and (match := pattern.fullmatch(request.path)):
                return endpoint, match.groupdict()
        raise Refusal(
            404,
            f"Unrecognized request URL ({request.method}: {request.path}). The sandbox has the "
            "endpoints that its "
            "page lists.",
        )


def acting(world: World, act: Callable[[Call], Any], params: Obj | None = None) -> Any:
    """Do something in the place of a person or of time, as one transaction. A kept Refusal is kept, then
    raised.
    """
    kept: Refusal | None = None
    with world.store.transaction():
        try:
            return act(Call(world, params or {}))
        except Refusal as refusal:
            if not refusal.kept:
                raise
            kept = refusal
    raise kept


def _pattern(path: str) -> str:
    return re.sub(r"\{(\w+)\}", r"(?P<\1>[A-Za-z0-9_.-]+)", path)


def _encoded(body: Any) -> bytes:
    return json.dumps(body, indent=2).encode()
