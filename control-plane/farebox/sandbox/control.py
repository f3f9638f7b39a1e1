"""The sandbox's own controls under `/sandbox/`: its state, its clock, its faults and its webhooks.

They need the Stripe secret key as a bearer token, so that no page in a browser can pull them. Wrong input is
answered 400 with a text that names the field.
"""

import hmac
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from farebox.sandbox import faults
from farebox.sandbox.deliveries import Sender
from farebox.sandbox.store import Obj
from farebox.sandbox.stripe import disputes, passing_time
from farebox.sandbox.stripe.call import Call
from farebox.sandbox.stripe.errors import Refusal
from farebox.sandbox.stripe.server import acting
from farebox.sandbox.world import World

_SHOWN_DELIVERY: Final = "seq, provider, event, type, url, state, due, attempts, last_status, last_error"


class Settings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The switches. `webhooks_held` keeps deliveries back until they are released."""

    webhooks_held: bool | None = None
    webhook_duplicates: int | None = msgspec.field(default=None)
    webhook_delay_seconds: float | None = None
    block_failed_postal_code: bool | None = None


class Control:
    """The handlers."""

    def __init__(self, world: World, sender: Sender) -> None:
        """Control this world."""
        self._world = world
        self._sender = sender

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.get("/sandbox/health", self.health),
            web.get("/sandbox/state", self._guarded(self.state)),
            web.delete("/sandbox/state", self._guarded(self.clear)),
            web.get("/sandbox/objects/{kind}", self._guarded(self.objects)),
            web.post("/sandbox/settings", self._guarded(self.settings)),
            web.post("/sandbox/clock", self._guarded(self.clock)),
            web.post("/sandbox/faults", self._guarded(self.fault)),
            web.delete("/sandbox/faults", self._guarded(self.no_faults)),
            web.get("/sandbox/deliveries", self._guarded(self.deliveries)),
            web.post("/sandbox/deliveries/release", self._guarded(self.release)),
            web.post("/sandbox/deliveries/send", self._guarded(self.send)),
            web.post("/sandbox/deliveries/lose", self._guarded(self.lose)),
            web.post("/sandbox/disputes", self._guarded(self.dispute)),
        ]

    def _guarded(
        self, handler: Callable[[Obj, web.Request], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            expected = f"Bearer {self._world.keys.stripe_secret_key}"
            if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode()):
                return _no(401, "Give the sandbox's Stripe secret key as a bearer token.")
            try:
                given = json.loads(await request.text() or "{}")
                if not isinstance(given, dict):
                    return _no(400, "The body is no JSON object.")
                return web.json_response(await handler(given, request))
            except (ValueError, TypeError, KeyError, msgspec.ValidationError) as error:
                return _no(400, f"{error}" if not isinstance(error, KeyError) else f"{error} is missing")
            except Refusal as refusal:
                return web.json_response(refusal.body(), status=refusal.status)

        return guarded

    async def health(self, _request: web.Request) -> web.Response:
        """200 while it answers."""
        return web.json_response({"status": "ok"})

    async def state(self, _given: Obj, _request: web.Request) -> Obj:
        """GET /sandbox/state: what there is, in numbers."""
        store = self._world.store
        states = store.rows("SELECT state, count(*) AS number FROM deliveries GROUP BY state")
        return {
            "time": self._world.now(),
            "objects": store.counts(),
            "deliveries": {row["state"]: row["number"] for row in states},
            "settings": store.note("settings") or {},
            "faults": faults.ordered(self._world),
            "losing": store.note("lose") or [],
        }

    async def clear(self, _given: Obj, _request: web.Request) -> Obj:
        """DELETE /sandbox/state: forget everything but the keys and the configured endpoints."""
        store = self._world.store
        endpoints = [body for body in store.newest_first("webhook_endpoint") if body.get("_configured")]
        with store.transaction():
            store.clear()
            for endpoint in endpoints:
                store.put("webhook_endpoint", endpoint)
            for note in ("settings", "faults", "lose", "clock_offset"):
                store.set_note(note, None)
        return {"cleared": True}

    async def objects(self, _given: Obj, request: web.Request) -> list[Obj]:
        """GET /sandbox/objects/{kind}: every object of the kind, whole, the newest first."""
        return list(self._world.store.newest_first(request.match_info["kind"]))

    async def settings(self, given: Obj, _request: web.Request) -> Obj:
        """POST /sandbox/settings: change switches."""
        read = msgspec.convert(given, Settings)
        if (
            not 0 <= (read.webhook_duplicates or 0) <= 100
            or not 0 <= (read.webhook_delay_seconds or 0) <= 3600
        ):
            raise ValueError("webhook_duplicates is 0 to 100, webhook_delay_seconds 0 to 3600")
        now = {**(self._world.store.note("settings") or {}), **given}
        self._world.store.set_note(
            "settings", {name: value for name, value in now.items() if value is not None}
        )
        return {"settings": now}

    async def clock(self, given: Obj, _request: web.Request) -> Obj:
        """POST /sandbox/clock {"advance_seconds"}: time passes, and what is due happens."""
        seconds = given["advance_seconds"]
        if not isinstance(seconds, int) or not 0 < seconds <= 10 * 366 * 86_400:
            raise ValueError("advance_seconds is a whole number from 1 to ten years")
        with self._world.store.transaction():
            self._world.store.set_note(
                "clock_offset", (self._world.store.note("clock_offset") or 0) + seconds
            )
        passing_time.catch_up(self._world)
        return {"time": self._world.now()}

    async def fault(self, given: Obj, _request: web.Request) -> Obj:
        """POST /sandbox/faults: order one."""
        return {"ordered": faults.order(self._world, given).kind, "waiting": faults.ordered(self._world)}

    async def no_faults(self, _given: Obj, _request: web.Request) -> Obj:
        """DELETE /sandbox/faults: take every order back."""
        self._world.store.set_note("faults", [])
        self._world.store.set_note("lose", [])
        return {"waiting": []}

    async def deliveries(self, _given: Obj, _request: web.Request) -> list[Obj]:
        """GET /sandbox/deliveries: every one, the oldest first."""
        return self._world.store.rows(f"SELECT {_SHOWN_DELIVERY} FROM deliveries ORDER BY seq")  # noqa: S608

    async def release(self, given: Obj, _request: web.Request) -> Obj:
        """POST /sandbox/deliveries/release {"order", "seed", "duplicates"}: send what is held, in this
        order.
        """
        order, copies = given.get("order", "made"), 1 + int(given.get("duplicates", 0))
        if order not in {"made", "reversed", "shuffled"} or not 1 <= copies <= 100:
            raise ValueError("order is made, reversed or shuffled; duplicates is 0 to 99")
        held = self._world.store.rows("SELECT * FROM deliveries WHERE state = 'held' ORDER BY seq") * copies
        if order == "reversed":
            held.reverse()
        if order == "shuffled":
            random.Random(given.get("seed", 0)).shuffle(held)  # noqa: S311 - an order to repeat, no secret
        outcomes = [await self._sender.attempt(delivery) for delivery in held]
        self._world.news.set()
        return {"sent": len(outcomes), "statuses": [outcome["status"] for outcome in outcomes]}

    async def send(self, given: Obj, _request: web.Request) -> Obj:
        """POST /sandbox/deliveries/send {"event", "signature"}: once more, good, forged or old."""
        signature = given.get("signature", "good")
        if signature not in {"good", "forged", "old"}:
            raise ValueError("signature is good, forged or old")
        found = self._world.store.rows(
            "SELECT * FROM deliveries WHERE event = ? ORDER BY seq LIMIT 1", given["event"]
        )
        if not found:
            raise ValueError(f"there is no delivery of event {given['event']}")
        return await self._sender.attempt(found[0], signature=signature)

    async def lose(self, given: Obj, _request: web.Request) -> Obj:
        """POST /sandbox/deliveries/lose {"type", "times"}: the next ones are never sent."""
        rule = {"type": str(given.get("type", "*")), "times": int(given.get("times", 1))}
        waiting = [*(self._world.store.note("lose") or []), rule]
        self._world.store.set_note("lose", waiting)
        return {"losing": waiting}

    async def dispute(self, given: Obj, _request: web.Request) -> Obj:
        """POST /sandbox/disputes {"charge", "reason"}: the holder takes the money back."""

        def opened(call: Call) -> Obj:
            charge = call.referred("charge", "charge", object_id=given["charge"])
            return disputes.opened(call, charge, reason=given.get("reason", "fraudulent"))

        made: Obj = acting(self._world, opened)
        return made


def _no(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)
