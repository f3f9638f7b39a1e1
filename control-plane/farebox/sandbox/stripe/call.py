"""What one Stripe request works with: its parameters, the store, the time, and the events that it makes.

Knows how objects are found, listed, expanded and shown; refuses to know HTTP and what any object is for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.errors import Refusal, invalid, no_such
from farebox.sandbox.world import World

KINDS: Final[Mapping[str, str]] = {
    "cus": "customer",
    "pm": "payment_method",
    "seti": "setup_intent",
    "pi": "payment_intent",
    "ch": "charge",
    "re": "refund",
    "du": "dispute",
    "prod": "product",
    "price": "price",
    "sub": "subscription",
    "in": "invoice",
    "ii": "invoiceitem",
    "cs": "checkout.session",
    "txn": "balance_transaction",
    "evt": "event",
    "we": "webhook_endpoint",
    "si": "subscription_item",
    "inpay": "invoice_payment",
}
SPOKEN: Final[Mapping[str, str]] = {
    "payment_method": "PaymentMethod",
    "setup_intent": "setupintent",
    "balance_transaction": "balance transaction",
    "checkout.session": "checkout.session",
    "webhook_endpoint": "webhook endpoint",
}
MAX_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `params` are read and typed; `named` are the parts of the path."""

    world: World
    params: Obj
    named: Mapping[str, str] = field(default_factory=dict)
    publishable: bool = False

    @property
    def now(self) -> int:
        """Seconds since 1970, on the sandbox's clock."""
        return self.world.now()

    def new_id(self, prefix: str) -> str:
        """An id such as `cus_…`."""
        return f"{prefix}_{self.world.store.new_text()}"

    def start(self, prefix: str, **fields: Any) -> Obj:
        """A new object with what all objects have. It is not kept before `keep`."""
        kind = KINDS[prefix]
        return {"id": self.new_id(prefix), "object": kind, "created": self.now, "livemode": False, **fields}

    def keep(self, body: Obj) -> Obj:
        """Write the object down."""
        return self.world.store.put(body["object"], body)

    def find(self, kind: str, object_id: str, *, param: str = "id") -> Obj:
        """The object that the path names; Refusal 404."""
        return self._found(kind, object_id, param=param, status=404)

    def referred(self, kind: str, param: str, *, object_id: str | None = None) -> Obj:
        """The object that a parameter names; Refusal 400."""
        return self._found(kind, object_id or self.params[param], param=param, status=400)

    def _found(self, kind: str, object_id: str, *, param: str, status: int) -> Obj:
        found = self.world.store.get(kind, object_id)
        if found is None:
            raise no_such(SPOKEN.get(kind, kind), object_id, param=param, status=status)
        return found

    def all_of(self, kind: str, *, oldest_first: bool = False, **equal: Any) -> Iterable[Obj]:
        """Objects with these values, the newest first."""
        for body in self.world.store.newest_first(kind, oldest_first=oldest_first):
            if all(body.get(name) == value for name, value in equal.items()):
                yield body

    def page(  # noqa: C901 - one loop over one list, in the two directions that Stripe pages
        self, kind: str, url: str, *, keeps: Callable[[Obj], bool] = lambda _body: True
    ) -> Obj:
        """A list answer: newest first, `limit`, `starting_after`, `ending_before`, `created`."""
        limit = self.params.get("limit", 10)
        if not 1 <= limit <= MAX_LIMIT:
            raise invalid(f"Invalid limit: must be between 1 and {MAX_LIMIT}", "limit")
        after, before = self.params.get("starting_after"), self.params.get("ending_before")
        if after and before:
            raise invalid(
                "You may only specify one of these parameters: ending_before, starting_after.",
                "starting_after",
            )
        for name in ("starting_after", "ending_before"):
            if name in self.params:
                self.referred(kind, name)
        started, created = after is None, self.params.get("created")
        found: list[Obj] = []
        for body in self.world.store.newest_first(kind, oldest_first=before is not None):
            if not started or (before and not found and body["id"] == before):
                started = started or body["id"] == after
                continue
            if before is not None and not _is_past(self, kind, body["id"], before):
                continue
            if keeps(body) and _within(created, body["created"]):
                found.append(body)
            if len(found) > limit:
                break
        shown = found[:limit]
        if before is not None:
            shown.reverse()
        return {"object": "list", "url": url, "has_more": len(found) > limit, "data": shown}

    def emit(self, event_type: str, body: Obj, *, previous: Obj | None = None) -> None:
        """Make an event with the object as it is now, and a delivery for each endpoint that wants it."""
        self.world.emit(event_type, shown(body), previous=previous)

    def remember_metadata(self, body: Obj) -> None:
        """Merge the `metadata` parameter: "" clears all, an empty value clears its key."""
        if "metadata" in self.params:
            body["metadata"] = merged(body.get("metadata") or {}, self.params["metadata"])


def _is_past(call: Call, kind: str, object_id: str, bound: str) -> bool:
    rows = call.world.store.rows(
        "SELECT (SELECT seq FROM objects WHERE kind = ?1 AND id = ?2)"
        " > (SELECT seq FROM objects WHERE kind = ?1 AND id = ?3) AS past",
        kind,
        object_id,
        bound,
    )
    return bool(rows[0]["past"])


def _within(asked: Any, created: int) -> bool:
    if asked is None:
        return True
    if isinstance(asked, int):
        return created == asked
    tests = {"gt": created.__gt__, "gte": created.__ge__, "lt": created.__lt__, "lte": created.__le__}
    return all(tests[name](bound) for name, bound in asked.items())


def merged(old: Mapping[str, str], given: Any) -> dict[str, str]:
    """Metadata after an update; at most 50 keys of 40 characters with values of 500."""
    if given == "":
        return {}
    new = {**old, **given}
    for key, value in new.items():
        if len(key) > 40 or len(value) > 500:
            raise invalid("Metadata keys have at most 40 characters, values at most 500.", f"metadata[{key}]")
    kept = {key: value for key, value in new.items() if value != ""}
    if len(kept) > 50:
        raise invalid("Metadata can have at most 50 keys.", "metadata")
    return kept


def shown(body: Any) -> Any:
    """The object as the world may see it: what begins with an underscore is the sandbox's own."""
    if isinstance(body, dict):
        return {key: shown(value) for key, value in body.items() if not key.startswith("_")}
    return [shown(value) for value in body] if isinstance(body, list) else body


Handler = Callable[[Call], Obj]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the API. `typed` is the SDK's TypedDict; `honours` the parameters that the sandbox acts on.

    A parameter that Stripe has and the sandbox does not simulate is refused too, and the refusal says so: a
    stand-in that accepts what it ignores would let a fault through. `also` are parameters of Stripe's
    client-side library that the server-side SDK does not list.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    typed: type
    handler: Handler
    honours: frozenset[str] = frozenset()
    publishable: bool = False
    also: frozenset[str] = frozenset()

    def refuse_unsimulated(self, params: Mapping[str, Any]) -> None:
        """Refusal for a parameter that would be ignored."""
        for name in params:
            if name not in self.honours and name != "expand":
                raise Refusal(
                    400,
                    f"The sandbox does not simulate the parameter {name} of {self.method} {self.path}.",
                    code="sandbox_not_simulated",
                    param=name,
                )


def names(text: str) -> frozenset[str]:
    """The words of a text as a set: a short way to list parameters."""
    return frozenset(text.split())


LISTING: Final = names("limit starting_after ending_before created")
