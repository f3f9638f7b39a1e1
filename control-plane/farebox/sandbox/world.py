"""What every part of the sandbox shares: the store, the keys, the clock, and the events that go out.

Knows no provider's objects. The clock is the machine's plus what `/sandbox/clock` added, so that a month can
pass in a test.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from farebox.sandbox.keys import Keys
from farebox.sandbox.store import Obj, Store

API_VERSION_NOTE: Final = "api_version"


@dataclass(frozen=True, slots=True)
class World:
    """One running sandbox. `base_url` is where people and programs reach it."""

    store: Store
    keys: Keys
    base_url: str
    api_version: str
    machine_clock: Callable[[], float] = time.time
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def time(self) -> float:
        """Seconds since 1970 on the sandbox's clock."""
        return self.machine_clock() + float(self.store.note("clock_offset") or 0)

    def now(self) -> int:
        """Whole seconds since 1970."""
        return int(self.time())

    def setting(self, name: str, default: Any) -> Any:
        """A switch of the sandbox that `/sandbox/settings` changes."""
        return (self.store.note("settings") or {}).get(name, default)

    def emit(self, event_type: str, body: Obj, *, previous: Obj | None = None) -> Obj:
        """Make a Stripe event and its deliveries: https://docs.stripe.com/api/events/object."""
        event: Obj = {
            "id": f"evt_{self.store.new_text()}",
            "object": "event",
            "api_version": self.api_version,
            "created": self.now(),
            "data": {"object": body} | ({"previous_attributes": previous} if previous else {}),
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": None, "idempotency_key": None},
            "type": event_type,
        }
        endpoints = [
            endpoint
            for endpoint in self.store.newest_first("webhook_endpoint", oldest_first=True)
            if endpoint["status"] == "enabled" and {"*", event_type} & set(endpoint["enabled_events"])
        ]
        event["pending_webhooks"] = len(endpoints)
        self.store.put("event", event)
        for endpoint in endpoints:
            self.deliver("stripe", event["id"], event_type, endpoint["url"], endpoint["_secret"], event)
        return event

    def deliver(self, provider: str, event: str, kind: str, url: str, secret: str, payload: Obj) -> None:
        """Put one delivery into the queue, as the switches say: held, lost, late, twice."""
        losing = self.store.note("lose") or []
        state = "held" if self.setting("webhooks_held", default=False) else "due"
        for index, rule in enumerate(losing):
            if rule["times"] > 0 and rule["type"] in {"*", kind}:
                losing[index]["times"] -= 1
                state = "lost"
                break
        self.store.set_note("lose", losing)
        text = json.dumps(payload, separators=(",", ":"))
        due = self.machine_clock() + self.setting("webhook_delay_seconds", 0)
        for _ in range(1 + self.setting("webhook_duplicates", 0)):
            self.store.change(
                "INSERT INTO deliveries (provider, event, type, url, secret, payload, state, due)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                provider,
                event,
                kind,
                url,
                secret,
                text,
                state,
                due,
            )
        self.news.set()
