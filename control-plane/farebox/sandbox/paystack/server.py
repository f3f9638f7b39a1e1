"""Paystack over HTTP: its key, its shapes, the page where a person types a card, and ordered faults."""

import asyncio
import hmac
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from farebox.sandbox.faults import Fault, crash, cut, take
from farebox.sandbox.paystack import rules, transactions
from farebox.sandbox.paystack.rules import PaystackRefusal
from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.pages import amount_text, page
from farebox.sandbox.world import World

_BROKEN: Final = {"status": False, "message": "An error occurred", "type": "api_error", "code": "unknown"}
Act = Callable[[Obj], Obj]


class PaystackServer:
    """Answers under `/transaction`, `/refund` and `/paystack/pay/…`."""

    def __init__(self, world: World) -> None:
        """Serve this world."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """Where everything is."""
        return [
            web.post("/transaction/initialize", self.initialize),
            web.get("/transaction/verify/{reference}", self.verify),
            web.post("/transaction/charge_authorization", self.charge),
            web.get("/transaction", self.listed),
            web.get("/transaction/{number}", self.fetch),
            web.post("/refund", self.refund),
            web.get("/refund", self.refunds),
            web.get("/paystack/pay/{code}", self.form),
            web.post("/paystack/pay/{code}", self.paid),
        ]

    async def initialize(self, request: web.Request) -> web.StreamResponse:
        """POST /transaction/initialize."""

        def act(given: Obj) -> Obj:
            rules.check_names(given, rules.INITIALIZE, ("email", "amount"))
            return _yes("Authorization URL created", transactions.initialize(self._world, given))

        return await self._answer(request, act)

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """GET /transaction/verify/{reference}."""

        def act(given: Obj) -> Obj:
            rules.check_names(given, frozenset())
            body = transactions.found(self._world, request.match_info["reference"])
            return _yes("Verification successful", transactions.shown(body))

        return await self._answer(request, act)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """GET /transaction/{id}."""

        def act(given: Obj) -> Obj:
            rules.check_names(given, frozenset())
            body = transactions.found(self._world, request.match_info["number"])
            return _yes("Transaction retrieved", transactions.shown(body))

        return await self._answer(request, act)

    async def charge(self, request: web.Request) -> web.StreamResponse:
        """POST /transaction/charge_authorization."""

        def act(given: Obj) -> Obj:
            rules.check_names(given, rules.CHARGE, ("email", "amount", "authorization_code"))
            return _yes("Charge attempted", transactions.shown(transactions.charge(self._world, given)))

        return await self._answer(request, act)

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """GET /transaction."""

        def act(given: Obj) -> Obj:
            rules.check_names(given, rules.LIST)
            status, amount = given.get("status"), given.get("amount")
            every = (
                body
                for body in self._world.store.newest_first(transactions.KIND)
                if status in {None, transactions.shown(body)["status"]}
                and amount in {None, str(body["amount"])}
            )
            found, meta = transactions.page(every, given)
            return _yes("Transactions retrieved", [transactions.shown(body) for body in found]) | {
                "meta": meta
            }

        return await self._answer(request, act)

    async def refund(self, request: web.Request) -> web.StreamResponse:
        """POST /refund."""

        def act(given: Obj) -> Obj:
            rules.check_names(given, rules.REFUND, ("transaction",))
            return _yes("Refund has been queued for processing", transactions.refund(self._world, given))

        return await self._answer(request, act)

    async def refunds(self, request: web.Request) -> web.StreamResponse:
        """GET /refund."""

        def act(given: Obj) -> Obj:
            rules.check_names(given, rules.REFUND_LIST)
            wanted = given.get("transaction")
            every = (
                body
                for body in self._world.store.newest_first(transactions.REFUND_KIND)
                if wanted in {None, body["reference"], str(body["transaction"])}
            )
            found, meta = transactions.page(every, given)
            return _yes("Refunds retrieved", [transactions.shown_refund(body) for body in found]) | {
                "meta": meta
            }

        return await self._answer(request, act)

    async def _answer(self, request: web.Request, act: Act) -> web.StreamResponse:
        """Key, fault, body, one transaction, answer."""
        fault = take(self._world, request.method, request.path)
        if fault is not None and (early := await self._before(fault, request)) is not None:
            return early
        try:
            self._authenticate(request)
            given = await _given(request)
            with self._world.store.transaction():
                answer = web.json_response(act(given))
        except PaystackRefusal as refusal:
            answer = web.json_response(refusal.body(), status=refusal.status)
        if fault is not None and fault.kind == "crash_after":
            crash()
        if fault is not None and fault.kind == "lost_answer":
            cut(request)
        if fault is not None and fault.kind == "slow_answer":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "error_after":
            return web.json_response(_BROKEN, status=fault.status)
        return answer

    async def _before(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        if fault.kind == "down":
            return cut(request)
        if fault.kind == "crash_before":
            crash()
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "error_before":
            return web.json_response(_BROKEN, status=fault.status)
        if fault.kind == "rate_limited":
            return web.json_response(
                {**_BROKEN, "code": "rate_limited"}, status=429, headers={"Retry-After": "1"}
            )
        return None

    def _authenticate(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not given:
            raise PaystackRefusal(
                401,
                "No Authorization Header was found",
                code="missing_Authorization_header",
                step="Ensure that you provide the correct authorization key for the request",
            )
        if not hmac.compare_digest(given.encode(), self._world.keys.paystack_secret_key.encode()):
            raise PaystackRefusal(
                401,
                "Invalid key",
                code="invalid_Key",
                step="Ensure that you provide the correct authorization key for the request",
            )

    def _opened(self, request: web.Request) -> Obj:
        body = transactions.by_access_code(self._world, request.match_info["code"])
        if body is None:
            raise web.HTTPNotFound(text="There is no such payment.")
        return body

    async def form(self, request: web.Request) -> web.StreamResponse:
        """GET /paystack/pay/{access_code}: the page for the card."""
        body = self._opened(request)
        if body["status"] == "success":
            return _back(body) or page("done.html", title="Paid", text="This transaction is paid.")
        return self._page(body, "")

    async def paid(self, request: web.Request) -> web.StreamResponse:
        """POST /paystack/pay/{access_code}: the card, then back to the seller."""
        body, typed = self._opened(request), await request.post()
        card = rules.card_numbered(str(typed.get("number", "")))
        month, _, year = str(typed.get("expiry", "")).replace(" ", "").partition("/")
        if card is None:
            return self._page(body, "This is no Paystack test card.")
        if not (month.isdigit() and year.isdigit() and 1 <= int(month) <= 12):
            return self._page(body, "The expiry date is MM / YY.")
        with self._world.store.transaction():
            body = transactions.pay(self._world, body, card, expires=(int(month), 2000 + int(year) % 100))
        if body["status"] != "success":
            return self._page(body, body["gateway_response"])
        return _back(body) or page("done.html", title="Paid", text="Thank you. You can close this page.")

    def _page(self, body: Obj, problem: str) -> web.Response:
        return page(
            "paystack.html",
            amount=amount_text(body["amount"], body["currency"]),
            email=body["email"],
            problem=problem,
            hidden="" if problem else "hidden",
        )


def _back(body: Obj) -> web.Response | None:
    """A redirect to the seller's page with `trxref` and `reference`, where one was given."""
    if not body["callback_url"]:
        return None
    parts = urlsplit(body["callback_url"])
    query = [*parse_qsl(parts.query), ("trxref", body["reference"]), ("reference", body["reference"])]
    return web.Response(status=303, headers={"Location": urlunsplit(parts._replace(query=urlencode(query)))})


async def _given(request: web.Request) -> Obj:
    if request.method == "GET":
        return dict(request.query)
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise PaystackRefusal(400, "Invalid JSON body", code="invalid_json") from error
    if not isinstance(body, dict):
        raise PaystackRefusal(400, "The body is no JSON object", code="invalid_json")
    return body


def _yes(message: str, data: Any) -> Obj:
    return {"status": True, "message": message, "data": data}
