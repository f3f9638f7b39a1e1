"""The one way in which anything is written to a gateway: observe, plan, push, record.

Level-triggered: whatever happened, what is read now is brought to what was sold by now. Organizations that
are being written by one task are not begun by another, so that an older snapshot never lands after a newer.
What is refused fails for its organization alone; a gateway that does not answer fails the batch.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import aiohttp
import structlog

from farebox.clock import Clock
from farebox.db import Database
from farebox_contract import plugins
from farebox_gateway.client import AdminClient
from farebox_gateway.planner import Hindrance, Plan, Step, Why, plan
from farebox_gateway.resources import Kind, Observed, Ref, Resource
from farebox_worker import snapshot, translate
from farebox_worker.sync import canary, forms, imported, progress, standing
from farebox_worker.sync.fence import Fence
from farebox_worker.sync.nodes import NodeError, Nodes
from farebox_worker.sync.progress import GatewayState, Outcome
from farebox_worker.sync.pushing import push
from farebox_worker.sync.withheld import keep_back
from farebox_worker.targets import Node, Target
from farebox_worker.translate import OrganizationFacts

CONCURRENCY: Final = 16
CATALOGUE_KINDS: Final = (Kind.UPSTREAM, Kind.SERVICE, Kind.CONSUMER_GROUP, Kind.ROUTE)
CONSUMER_KINDS: Final = frozenset({Kind.CONSUMER, Kind.CREDENTIAL})
OUR_PLUGINS: Final = frozenset({plugins.AUTH, plugins.LIMIT, plugins.METER})
_ERROR_LENGTH: Final = 1000
REWRITTEN: Final = 500
PROOF_SECONDS: Final = 0.5
"""How long a batch waits for its nodes; what is not seen by then is looked for again and again, beside."""


log = structlog.get_logger(__name__)

Wanted = dict[str, int | None]
"""By an item's name the hash that a node must hold, or None where it must hold nothing."""


@dataclass(frozen=True, slots=True)
class CatalogueResult:
    """What came of a catalogue: the plan that was carried out, and why it is not enforced, if it is not."""

    plan: Plan
    revision: int
    error: str | None = None


@dataclass(slots=True)
class Reconciler:
    """Writes to one gateway. Whoever makes it holds the gateway's lock, which `fence` asks.

    `released` is called when organizations that somebody was refused are free again.
    """

    target: Target
    gateway_id: UUID
    database: Database
    client: AdminClient
    http: aiohttp.ClientSession
    clock: Clock
    fence: Fence
    released: Callable[[], None] = lambda: None
    overwrite_newer: bool = False
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))
    nodes: Nodes = field(init=False)
    _busy: set[UUID] = field(default_factory=set)
    _passed_over: bool = False
    _one_catalogue: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Make what speaks to the nodes."""
        self.nodes = Nodes(self.target, self.http)

    async def organizations(
        self, ids: Collection[UUID], *, kinds: Collection[Kind] = CONSUMER_KINDS
    ) -> list[Outcome]:
        """Bring these organizations to what was sold, and record what came of it.

        Those that another task is at are left out: it reads anew, or the outbox still has them. With fewer
        `kinds` only those are written, and nothing is recorded as applied.
        """
        mine = [each for each in dict.fromkeys(ids) if each not in self._busy]
        self._passed_over = self._passed_over or len(mine) < len(ids)
        if not mine:
            return []
        self._busy.update(mine)
        try:
            return await self._batch(mine, frozenset(kinds))
        finally:
            self._busy.difference_update(mine)
            if self._passed_over:
                self._passed_over = False
                self.released()

    async def _batch(self, ids: Sequence[UUID], kinds: frozenset[Kind]) -> list[Outcome]:
        async with self.database.transaction() as session:
            facts = await snapshot.organizations(session, ids, now=self.clock.now())
        tasks = [asyncio.ensure_future(self._organization(each, kinds)) for each in facts]
        if not tasks:
            return []
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        failures = [error for task in done if (error := task.exception()) is not None]
        written = [task.result() for task in tasks if not task.cancelled() and task.exception() is None]
        outcomes = [outcome for outcome, _ in written]
        if outcomes and kinds == CONSUMER_KINDS:
            outcomes = await self._seen(written)
            async with self.database.transaction() as session:
                await progress.record(session, self.gateway_id, outcomes)
        if failures:
            raise failures[0]
        return outcomes

    async def _organization(self, facts: OrganizationFacts, kinds: frozenset[Kind]) -> tuple[Outcome, Wanted]:
        desired = self.desired(facts)
        observed = await self.observe(facts.public_id, imported.refs(facts))
        made = self._plan(desired, observed)
        steps = [step for step in made.steps if step.ref.kind in kinds]
        if any(conflict.hindrance is Hindrance.AHEAD for conflict in made.conflicts):
            steps = []  # what stands under another consumer is as old as what was kept back
        needed = {resource.ref for resource in desired if resource.ref.kind is Kind.CONSUMER}
        stays = bool(needed) and needed <= {found.ref for found in observed}
        refused = await push(self.client, steps, fence=self.fence, slots=self.slots, ordered=not stays)
        refused += [f"{conflict.ref}: {conflict.hindrance}" for conflict in made.conflicts]
        error = "; ".join(refused)[:_ERROR_LENGTH] or None
        wanted: Wanted = dict(forms.items(desired))
        for step in steps:
            if step.verb == "delete" and (name := forms.name_of(step.ref)) is not None:
                wanted[name] = None
        return Outcome(facts.id, facts.public_id, facts.revision, len(steps), error), wanted

    def desired(self, facts: OrganizationFacts, *, at: datetime | None = None) -> list[Resource]:
        """Return everything that is to stand for an organization now, or was to at another time."""
        now = self.clock.now() if at is None else at
        return [*translate.organization(facts, now=now), *imported.desired(facts)]

    async def _seen(self, written: Sequence[tuple[Outcome, Wanted]]) -> list[Outcome]:
        """Ask the nodes whether they have taken up what was written, and note for whom one is waited for."""
        if not self.nodes.awaited:
            return [outcome for outcome, _ in written]
        together: Wanted = {}
        for outcome, wanted in written:
            if outcome.error is None:
                together.update(wanted)
        lacking = await self.nodes.prove(together, patience=PROOF_SECONDS) if together else {}
        return [
            replace(outcome, waits=next((lacking[name] for name in wanted if name in lacking), None))
            for outcome, wanted in written
        ]

    async def observe(self, consumer: str, others: Sequence[Ref] = ()) -> list[Observed]:
        """Read a consumer with its credentials, and `others`, at once: who waits for a key waits for this."""
        async with self.slots:
            singles, credentials = await asyncio.gather(
                asyncio.gather(*map(self.client.get, [Ref(Kind.CONSUMER, consumer), *others])),
                self.client.credentials(consumer),
            )
        return [*(found for found in singles if found is not None), *credentials]

    async def remove_consumer(self, name: str) -> list[str]:
        """Delete a consumer of ours that belongs to nobody; returns what was refused."""
        made = self._plan([], await self.observe(name))
        refused = await push(self.client, made.steps, fence=self.fence, slots=self.slots)
        return refused + [f"{conflict.ref}: {conflict.hindrance}" for conflict in made.conflicts]

    async def rewrite(self, names: Sequence[str]) -> None:
        """Write again what stands right in the store, so that the nodes are told of it once more."""
        consumers = sorted({name.partition("/")[0] for name in names})
        async with self.database.transaction() as session:
            found = await snapshot.organizations_named(session, consumers, now=self.clock.now())
        for start in range(0, len(names), REWRITTEN):
            wanted = {forms.ref_of(name) for name in names[start : start + REWRITTEN]}
            steps = [
                Step("put", each.ref, Why.CHANGED, each.body)
                for facts in found.values()
                for each in self.desired(facts)
                if each.ref in wanted
            ]
            refused = await push(self.client, steps, fence=self.fence, slots=self.slots)
            log.info("rewritten", gateway=self.target.code, items=len(steps), refused=refused[:5])

    async def catalogue(self, *, changed_elsewhere: bool = False) -> CatalogueResult:
        """Bring upstreams, plan versions and routes to what was sold; then see whether it is enforced.

        Routes are pushed only to a gateway that has loaded our plugins: without them they would be served
        unprotected. After any write (`changed_elsewhere` tells of others) the canary gets a new nonce, and is
        then probed through the data plane.
        """
        async with self._one_catalogue:
            return await self._catalogue(changed_elsewhere=changed_elsewhere)

    async def _catalogue(self, *, changed_elsewhere: bool) -> CatalogueResult:
        made, revision, nonce, missing = await self.survey_catalogue()
        refused = [] if missing else await standing.put_global_rule(self)
        refused += await push(self.client, made.steps, fence=self.fence, slots=self.slots)
        refused += [f"{conflict.ref}: {conflict.hindrance}" for conflict in made.conflicts]
        if missing:
            refused.append(
                f"not loaded are {'; '.join(sorted(missing))}: no route is pushed; "
                "load the plugins and the routes follow"
            )
        elif not refused:
            if made.steps or changed_elsewhere:
                nonce = uuid4().hex
                fresh = translate.canary(nonce, revision=revision, key_prefix=self.target.key_prefix)
                step = Step("put", fresh.ref, Why.OUTDATED, fresh.body)
                refused += await push(self.client, [step], fence=self.fence, slots=self.slots)
            refused += await self._probe(nonce)
        error = "; ".join(refused)[:_ERROR_LENGTH] or None
        async with self.database.transaction() as session:
            await progress.record_catalogue(session, self.gateway_id, revision=revision, error=error)
        return CatalogueResult(made, revision, error)

    async def survey_catalogue(self) -> tuple[Plan, int, str, frozenset[str]]:
        """Compare the catalogue; returns plan, revision, the canary's nonce, missing plugins."""
        missing = await self._missing_plugins()
        async with self.database.transaction() as session:
            facts = await snapshot.catalogue(session, self.gateway_id)
        kinds = CATALOGUE_KINDS if not missing else (Kind.UPSTREAM,)
        observed = [
            found
            for kind in kinds
            async for page in self.client.pages(kind)
            for found in page
            if found.ref != standing.MARKER
        ]
        nonce = _nonce(observed)
        desired = list(
            translate.catalogue(
                facts, nonce=nonce, with_routes=not missing, key_prefix=self.target.key_prefix
            )
        )
        made = keep_back(self._plan(desired, observed), desired, await self.client.plugins())
        if missing:
            made = Plan(tuple(step for step in made.steps if step.verb == "put"), made.conflicts)
        return made, facts.revision, nonce, missing

    async def _missing_plugins(self) -> frozenset[str]:
        """Return which of our plugins are not loaded: by the gateway's word, and by that of its nodes.

        A node that does not answer has not said that it lacks one, and does not hold the others up.
        """
        missing = {
            f"{name} at {self.target.code}" for name in sorted(OUR_PLUGINS - await self.client.plugins())
        }
        for node, workers in zip(
            self.nodes.asked,
            await asyncio.gather(*map(self.nodes.status, self.nodes.asked), return_exceptions=True),
            strict=True,
        ):
            if isinstance(workers, NodeError):
                log.warning("node_unreachable", gateway=self.target.code, node=node.code, error=workers.text)
            elif isinstance(workers, BaseException):
                raise workers
            else:
                for worker in workers:
                    lacking = OUR_PLUGINS - worker.plugins.keys() if worker.error is None else ()
                    missing |= {f"{name} at node {node.code}, worker {worker.worker}" for name in lacking}
        return frozenset(missing)

    async def _probe(self, nonce: str) -> list[str]:
        """Ask each node's data plane for the canary; return what those did that must have it."""

        async def ask(node: Node) -> str | None:
            said = await canary.probe(self.http, node.data_url, nonce)
            if said is not None and node.optional:
                log.warning("optional_node_lags", gateway=self.target.code, node=node.code, said=said)
                return None
            return said

        said = await asyncio.gather(*(ask(node) for node in self.target.nodes if node.data_url))
        return [each for each in said if each is not None]

    async def state(self) -> GatewayState:
        """Read what is recorded of this gateway."""
        async with self.database.transaction() as session:
            found = await progress.gateway(session, self.target.code)
        if found is None:
            raise LookupError(f"the table gateways has no {self.target.code!r}: run `farebox migrate`")
        return found

    def _plan(self, desired: Iterable[Resource], observed: list[Observed]) -> Plan:
        return plan(desired, observed, overwrite_newer=self.overwrite_newer)


def _nonce(observed: Sequence[Observed]) -> str:
    """Return the nonce of the canary that stands there, so that a pass without changes writes nothing."""
    for found in observed:
        if found.ref == Ref(Kind.ROUTE, translate.CANARY_ROUTE) and found.ours:
            uris = found.body.get("uris") or [""]
            if isinstance(uris[0], str) and uris[0].startswith(translate.CANARY_PATH):
                return uris[0].removeprefix(translate.CANARY_PATH)
    return uuid4().hex
