"""What stands at a gateway under a name of ours: the global rule of `farebox-meter`, and the marker.

A global rule carries no labels, so `farebox` is ours by its name. Without it a request outside our routes has
a usage line without a stream. Plugins that somebody else has put into it stay there.

The marker is a consumer group that nobody is in, and that says something new every minute. A gateway whose
marker is gone has lost its state; one whose marker says something older was restored from a backup, and holds
keys that were revoked since.
"""

import secrets
from typing import TYPE_CHECKING, Any, Final

from farebox_contract.plugins import METER
from farebox_gateway.planner import Step, Why
from farebox_gateway.resources import Kind, Ref, labels
from farebox_worker.sync import progress
from farebox_worker.sync.pushing import push

if TYPE_CHECKING:
    from farebox_worker.sync.reconcile import Reconciler

GLOBAL_RULE: Final = Ref(Kind.GLOBAL_RULE, "farebox")
MARKER: Final = Ref(Kind.CONSUMER_GROUP, "farebox-marker")
_LABEL: Final = "farebox-marker"


async def put_global_rule(reconciler: "Reconciler") -> list[str]:
    """Have `farebox-meter` run for every request. Returns what the gateway refuses.

    A plugin may stand in one global rule only: where another rule has it, that is enough.
    """
    client = reconciler.client
    plugins: dict[str, Any] = {METER: {}}
    async for page in client.pages(Kind.GLOBAL_RULE):
        for found in page:
            standing = found.body.get("plugins") or {}
            if METER in standing and (found.ref != GLOBAL_RULE or _sound(standing[METER])):
                return []
            if found.ref == GLOBAL_RULE:
                plugins = {**standing, **plugins}
    step = Step("put", GLOBAL_RULE, Why.MISSING, {"id": GLOBAL_RULE.id, "plugins": plugins})
    return await push(client, [step], fence=reconciler.fence, slots=reconciler.slots)


def _sound(conf: Any) -> bool:
    """Tell whether it has no say of its own: `_meta` could switch it off."""
    return not any(value for value in (conf or {}).values())


async def pulse(reconciler: "Reconciler") -> None:
    """Have the marker say something new; what it is to say is remembered first."""
    said = secrets.token_hex(8)
    body = {"id": MARKER.id, "plugins": {}, "labels": labels(0, farebox_marker=said)}
    async with reconciler.database.transaction() as session:
        await progress.mark(session, reconciler.gateway_id, said)
    step = Step("put", MARKER, Why.OUTDATED, body)
    await push(reconciler.client, [step], fence=reconciler.fence, slots=reconciler.slots)


async def lost(reconciler: "Reconciler", marker: str | None) -> str | None:
    """Compare the gateway's marker with what was last written; say what happened, if anything did."""
    if marker is None:
        return None
    found = await reconciler.client.get(MARKER)
    if found is None:
        return "the gateway has lost its state"
    if found.labels.get(_LABEL) != marker:
        return "the gateway was restored from a backup, or is another one"
    return None
