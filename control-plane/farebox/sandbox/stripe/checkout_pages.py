"""The hosted checkout page: a person types a test card and is sent back to the seller."""

from typing import Final

from aiohttp import web

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import checkout
from farebox.sandbox.stripe.errors import Refusal
from farebox.sandbox.stripe.pages import amount_text, page
from farebox.sandbox.stripe.server import acting
from farebox.sandbox.world import World

_PAID: Final = frozenset({"succeeded", "requires_capture"})


class CheckoutPages:
    """The handlers under `/checkout/`."""

    def __init__(self, world: World) -> None:
        """Show this world."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.get("/checkout/{session}", self.form),
            web.post("/checkout/{session}", self.typed),
            web.get("/checkout/{session}/return", self.returned),
        ]

    def _session(self, request: web.Request) -> Obj:
        found = self._world.store.get(checkout.KIND, request.match_info["session"])
        if found is None:
            raise web.HTTPNotFound(text="There is no such checkout session.")
        body: Obj = acting(self._world, lambda call: checkout.expired(call, found))
        return body

    async def form(self, request: web.Request) -> web.StreamResponse:
        """GET: the form, or why there is none any more."""
        body = self._session(request)
        if body["status"] == "complete":
            return _away(body)
        if body["status"] == "expired":
            return page("done.html", title="Too late", text="This checkout session has expired.", status=410)
        return self._page(body, "")

    async def typed(self, request: web.Request) -> web.StreamResponse:
        """POST: try the card."""
        body, form = self._session(request), await request.post()
        if body["status"] != "open":
            return await self.form(request)
        month, _, year = str(form.get("expiry", "")).replace(" ", "").partition("/")
        if not (month.isascii() and month.isdigit() and year.isascii() and year.isdigit()):
            return self._page(body, "The expiry date is MM / YY.")
        typed = {
            "card": {
                "number": str(form.get("number", "")),
                "cvc": str(form.get("cvc", "")),
                "exp_month": month[:4],
                "exp_year": year[:4],
            },
            "billing_details": {
                "name": str(form.get("name", "")) or None,
                "email": str(form.get("email", "")) or None,
                "address": {"postal_code": str(form.get("postal_code", "")) or None},
            },
        }
        try:
            intent: Obj = acting(self._world, lambda call: checkout.pay(call, body, typed))
        except Refusal as refusal:
            return self._page(body, refusal.message)
        if intent["status"] == "requires_action":
            raise web.HTTPSeeOther(intent["next_action"]["redirect_to_url"]["url"])
        return await self.returned(request)

    async def returned(self, request: web.Request) -> web.StreamResponse:
        """GET …/return: after 3-D Secure, or at once."""
        body = self._session(request)
        kind = "setup_intent" if body["mode"] == "setup" else "payment_intent"
        intent = self._world.store.get(kind, body[kind] or "")
        if intent is None or intent["status"] not in _PAID:
            error = (intent or {}).get("last_payment_error") or (intent or {}).get("last_setup_error") or {}
            return self._page(body, error.get("message", "Please type your card."))
        body = acting(self._world, lambda call: checkout.complete(call, body))
        return _away(body)

    def _page(self, body: Obj, problem: str) -> web.Response:
        saving = body["mode"] == "setup"
        what = "Save your card" if saving else f"Pay {amount_text(body['amount_total'], body['currency'])}"
        lines = " · ".join(
            f"{item['quantity']} × {item['description']}" if item["quantity"] != 1 else item["description"]  # noqa: RUF001 - as Stripe writes it
            for item in body["_items"]
        )
        customer = self._world.store.get("customer", body["customer"] or "") or {}
        return page(
            "checkout.html",
            what=what,
            lines=lines or "for later payments",
            problem=problem,
            hidden="" if problem else "hidden",
            email=body["customer_email"] or customer.get("email") or "",
            back=body["cancel_url"] or "",
            no_back="" if body["cancel_url"] else "hidden",
            action=f"/checkout/{body['id']}",
        )


def _away(body: Obj) -> web.Response:
    url = body["success_url"].replace("{CHECKOUT_SESSION_ID}", body["id"])
    return web.Response(status=303, headers={"Location": url})
