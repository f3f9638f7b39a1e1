"""All of a gateway compared with all of the database, a page at a time, in memory that does not grow.

What was seen at the gateway is remembered as a number of eight bytes for each consumer. A list that shifts
under the reader is no harm: what it shows twice or not at all is looked at again by itself.
"""

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from farebox_contract.keys import PUBLIC_ID_LENGTH
from farebox_gateway.client import PAGE_SIZE
from farebox_gateway.planner import Plan, plan
from farebox_gateway.resources import Kind, Observed
from farebox_worker import snapshot
from farebox_worker.sync import imported
from farebox_worker.sync.reconcile import Reconciler
from farebox_worker.translate import OrganizationFacts

FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One consumer or organization: what would bring the one to the other.

    `organization` is None for a consumer that belongs to nobody we know; `ours` says whether it carries our
    label. `observed` is None where the consumer was not in the list: whoever acts looks again.
    """

    name: str
    organization: OrganizationFacts | None
    ours: bool
    plan: Plan
    observed: Sequence[Observed] | None


async def consumers(reconciler: Reconciler, *, stop: asyncio.Event) -> AsyncIterator[list[Finding]]:
    """Yield findings page by page: first every consumer there is, then organizations that none was seen of.

    Ends early when `stop` is set.
    """
    seen = array("Q")
    async for page in reconciler.client.pages(Kind.CONSUMER):
        seen.extend(_numbers(found.ref.id for found in page))
        yield await _compare_page(reconciler, page)
        if stop.is_set():
            return
    seen = array("Q", sorted(seen))
    after = FIRST
    while not stop.is_set():
        async with reconciler.database.transaction() as session:
            rows = await snapshot.open_after(session, after, limit=PAGE_SIZE)
            unseen = [id_ for id_, name in rows if not _holds(seen, name)]
            facts = (
                await snapshot.organizations(session, unseen, now=reconciler.clock.now()) if unseen else []
            )
        if not rows:
            return
        after = rows[-1][0]
        if facts:
            yield [_missing(reconciler, each) for each in facts]


async def _compare_page(reconciler: Reconciler, page: Sequence[Observed]) -> list[Finding]:
    page = [found for found in page if found.ref != imported.CONSUMER.ref]
    names = [found.ref.id for found in page]
    async with reconciler.database.transaction() as session:
        known = await snapshot.organizations_named(session, names, now=reconciler.clock.now())
    credentials = await asyncio.gather(
        *(_credentials(reconciler, found, known.get(found.ref.id)) for found in page)
    )
    findings = []
    for found, held in zip(page, credentials, strict=True):
        facts = known.get(found.ref.id)
        desired = [] if facts is None else reconciler.desired(facts)
        observed = [found, *held]
        made = plan(desired, observed, overwrite_newer=reconciler.overwrite_newer)
        findings.append(Finding(found.ref.id, facts, found.ours, made, observed))
    return findings


async def _credentials(
    reconciler: Reconciler, found: Observed, facts: OrganizationFacts | None
) -> list[Observed]:
    if not found.ours:
        return []
    elsewhere = [] if facts is None else imported.refs(facts)
    async with reconciler.slots:
        own, others = await asyncio.gather(
            reconciler.client.credentials(found.ref.id),
            asyncio.gather(*map(reconciler.client.get, elsewhere)),
        )
    return [*own, *(each for each in others if each is not None)]


def _missing(reconciler: Reconciler, facts: OrganizationFacts) -> Finding:
    desired = reconciler.desired(facts)
    return Finding(facts.public_id, facts, ours=True, plan=plan(desired, []), observed=None)


def _numbers(names: Iterable[str]) -> Iterable[int]:
    for name in names:
        number = _number(name)
        if number is not None:
            yield number


def _number(name: str) -> int | None:
    """Return a public id as a number below 36^10; None for a name that is no public id."""
    if len(name) != PUBLIC_ID_LENGTH or not name.isascii() or not name.isalnum() or name != name.lower():
        return None
    return int(name, 36)


def _holds(seen: Sequence[int], name: str) -> bool:
    number = _number(name)
    if number is None:
        return False
    index = bisect_left(seen, number)
    return index < len(seen) and seen[index] == number
