"""Looking again for what a gateway has taken and a node had not: nothing counts as enforced unseen.

The desired state is made as of the moment at which it was written, so that a period that began since, or a
key that expired, is no difference.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from farebox_contract.node_status import MOST_ITEMS, item_name
from farebox_worker import snapshot
from farebox_worker.sync import forms, progress
from farebox_worker.sync.survey import FIRST

if TYPE_CHECKING:
    from uuid import UUID

    from farebox_worker.sync.progress import Unproven
    from farebox_worker.sync.reconcile import Reconciler

BATCH: Final = 100
PATIENCE_SECONDS: Final = 0.2


async def prove_waiting(reconciler: "Reconciler", stop: asyncio.Event) -> None:
    """Go once through everything that waits for a node."""
    after = FIRST
    while not stop.is_set():
        async with reconciler.database.transaction() as session:
            waiting = await progress.unproven(session, reconciler.gateway_id, after=after, limit=BATCH)
        if not waiting:
            return
        await _prove(reconciler, waiting)
        after = waiting[-1].id


async def _prove(reconciler: "Reconciler", waiting: "list[Unproven]") -> None:
    since = min(each.accepted_at for each in waiting)
    async with reconciler.database.transaction() as session:
        found = await snapshot.organizations(session, [each.id for each in waiting], now=since)
    facts = {each.id: each for each in found}
    wanted: dict[UUID, dict[str, int | None]] = {}
    for each in waiting:
        known = facts.get(each.id)
        if known is None or known.revision != each.revision:
            continue
        desired = reconciler.desired(known, at=each.accepted_at)
        items: dict[str, int | None] = dict.fromkeys(item_name(each.public_id, key) for key in each.gone)
        if known.state == "closed":
            items[each.public_id] = None
        wanted[each.id] = {**items, **dict(forms.items(desired))}
    names = {name: number for items in wanted.values() for name, number in items.items()}
    lacking: dict[str, str] = {}
    for start in range(0, len(names), MOST_ITEMS):
        some = dict(list(names.items())[start : start + MOST_ITEMS])
        lacking |= await reconciler.nodes.prove(some, patience=PATIENCE_SECONDS)
    proven, still = {}, {}
    for each in waiting:
        if each.id in wanted:
            why = next((lacking[name] for name in wanted[each.id] if name in lacking), None)
            if why is None:
                proven[each.id] = each.revision
            else:
                still[each.id] = why
    async with reconciler.database.transaction() as session:
        await progress.record_proven(session, reconciler.gateway_id, proven, still)
