"""What people see of Stripe: the 3-D Secure page, and the card form that Elements puts into a page.

Card data arrives here and nowhere else: the form is a frame of the sandbox's own origin.
"""

import html
import json
from pathlib import Path
from string import Template
from typing import Final

from aiohttp import web

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import payment_intents, setup_intents
from farebox.sandbox.stripe.call import Call
from farebox.sandbox.stripe.confirming import return_address
from farebox.sandbox.stripe.errors import Refusal
from farebox.sandbox.stripe.payment_methods import method_named
from farebox.sandbox.stripe.server import acting
from farebox.sandbox.world import World

_FOLDER: Final = Path(__file__).parents[1] / "pages"


def page(name: str, *, status: int = 200, **values: str) -> web.Response:
    """One of the pages, its values escaped; `data_…` values are JSON for scripts."""
    safe = {
        key: value.replace("<", "\\u003c") if key.startswith("data_") else html.escape(value)
        for key, value in values.items()
    }
    safe["style"] = (_FOLDER / "style.css").read_text()
    return web.Response(
        text=Template((_FOLDER / name).read_text()).substitute(safe), content_type="text/html", status=status
    )


def amount_text(amount: int, code: str) -> str:
    """An amount for people, such as "$42.99"."""
    from babel.numbers import format_currency, get_currency_precision

    return format_currency(amount / 10 ** get_currency_precision(code.upper()), code.upper(), locale="en_US")


class StripePages:
    """The handlers; `/elements.js` and its frame, `/3d-secure/…`, receipts."""

    def __init__(self, world: World) -> None:
        """Show this world."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.get("/elements.js", self.script),
            web.get("/elements/frame", self.frame),
            web.get("/3d-secure/{intent}", self.ask),
            web.post("/3d-secure/{intent}", self.answer),
            web.get("/receipts/{charge}", self.receipt),
        ]

    async def script(self, _request: web.Request) -> web.Response:
        """GET /elements.js."""
        text = (_FOLDER / "elements.js").read_text()
        return web.Response(text=text, content_type="text/javascript", headers={"Cache-Control": "no-cache"})

    async def frame(self, _request: web.Request) -> web.Response:
        """GET /elements/frame: the card form inside the seller's page."""
        return page("elements.html")

    def _intent(self, request: web.Request) -> Obj:
        name = request.match_info["intent"]
        kind = "setup_intent" if name.startswith("seti_") else "payment_intent"
        found = self._world.store.get(kind, name)
        if found is None or request.query.get("client_secret") != found["client_secret"]:
            raise web.HTTPNotFound(text="There is no such payment.")
        return found

    async def ask(self, request: web.Request) -> web.Response:
        """GET /3d-secure/{intent}: "was it you?"."""
        intent = self._intent(request)
        what = (
            f"A payment of {amount_text(intent['amount'], intent['currency'])}"
            if intent["object"] == "payment_intent"
            else "Saving your card for later payments"
        )
        if intent["status"] != "requires_action":
            return page(
                "done.html", title="Nothing to do", text="This payment needs no confirmation any more."
            )
        return page("three_d_secure.html", what=what, action=str(request.rel_url))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """POST /3d-secure/{intent}: the person's answer, then back to the seller."""
        intent, form = self._intent(request), await request.post()
        if intent["status"] == "requires_action":
            try:
                acting(self._world, lambda call: _answered(call, intent, proved=form.get("answer") == "yes"))
            except Refusal as refusal:
                if not refusal.kept:
                    raise
        after = self._world.store.get(intent["object"], intent["id"]) or intent
        back = after.get("_return_url")
        if back:
            raise web.HTTPSeeOther(return_address(after, back))
        return page("three_d_secure_done.html", data_intent=json.dumps({"id": after["id"]}))

    async def receipt(self, request: web.Request) -> web.Response:
        """GET /receipts/{charge}."""
        found = self._world.store.get("charge", request.match_info["charge"])
        if found is None:
            raise web.HTTPNotFound(text="There is no such receipt.")
        text = (
            f"{amount_text(found['amount'], found['currency'])} was {found['status']}. Charge {found['id']}."
        )
        return page("done.html", title="Receipt", text=text)


def _answered(call: Call, intent: Obj, *, proved: bool) -> Obj:
    method = method_named(call, intent["payment_method"])
    if intent["object"] == "setup_intent":
        return (
            setup_intents.finish(call, intent, method)
            if proved
            else setup_intents.fail_authentication(call, intent)
        )
    if not proved:
        return payment_intents.fail_authentication(call, intent)
    return payment_intents.finish(call, intent, method, three_d_secure=True)
