"""What was sold against what each node enforces: 256 hashes compared, and looked into only where they differ.

A difference counts when it is seen twice, a moment apart, and nothing explains it: a change that is on its
way, or a period or a key's end that the node follows by itself. Then the gateway's own store is asked. If it
is right, the node's memory is wrong: its watch on the store lags or is broken. Reads only.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Final
from uuid import UUID

from farebox_contract import node_status as contract
from farebox_gateway.client import PAGE_SIZE
from farebox_gateway.planner import plan
from farebox_gateway.resources import Kind, Ref, Resource
from farebox_worker import snapshot, translate
from farebox_worker.sync import forms, imported, progress
from farebox_worker.sync.drift_report import Difference, NodeReport, Remedy, Report, fields_of
from farebox_worker.sync.nodes import NodeError, WorkerStatus
from farebox_worker.sync.reconcile import OUR_PLUGINS, Reconciler
from farebox_worker.sync.survey import FIRST
from farebox_worker.translate import OrganizationFacts

SECOND_LOOK_SECONDS: Final = 1.0
SETTLING: Final = timedelta(seconds=3)
MOST_CONFIRMED: Final = 2_000
MOST_EXAMINED: Final = 500
MOST_READ: Final = 50
OWN: Final = "farebox-"
Held = dict[tuple[str, int], dict[str, str]]
"""By node and worker, then by item, the hash that is held."""


@dataclass(slots=True)
class _Look:
    """What is gathered of one comparison."""

    reconciler: Reconciler
    report: Report
    workers: dict[tuple[str, int], WorkerStatus] = field(default_factory=dict)
    candidates: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))


async def compare(reconciler: Reconciler, *, pause: float = SECOND_LOOK_SECONDS) -> Report:
    """Compare every node of the gateway with what was sold. Raises what the gateway's client raises."""
    now = reconciler.clock.now()
    report = Report(reconciler.target.code, now, {node.code: NodeReport(node.code, optional=node.optional)
                                                  for node in reconciler.target.nodes})  # fmt: skip
    look = _Look(reconciler, report)
    await _ask_all(look)
    if not look.workers:
        return report
    await _few(look)
    sold = contract.bucket_hashes([each async for page in _sold(reconciler) for each in page])
    differing = {
        where: [number for number, own in enumerate(sold) if contract.shown(own) != status.buckets[number]]
        for where, status in look.workers.items()
        if status.settled and len(status.buckets) == contract.BUCKETS
    }
    if any(differing.values()):
        await _list(look, differing)
        await asyncio.sleep(pause)
        await _confirm(look)
    return report


async def _ask_all(look: _Look) -> None:
    nodes = look.reconciler.nodes
    answers = await asyncio.gather(*map(nodes.status, nodes.asked), return_exceptions=True)
    for node, workers in zip(nodes.asked, answers, strict=True):
        of_node = look.report.nodes[node.code]
        if isinstance(workers, NodeError):
            of_node.error = workers.text
            continue
        if isinstance(workers, BaseException):
            raise workers
        for worker in workers:
            of_node.workers.append(worker)
            if worker.error is not None:
                continue
            look.workers[node.code, worker.worker] = worker
            for name in sorted(OUR_PLUGINS - worker.plugins.keys()):
                of_node.add(Difference(name, "plugin missing", worker.worker, Remedy.PLUGIN))


async def _sold(reconciler: Reconciler) -> AsyncIterator[list[tuple[str, int]]]:
    """Yield names and hashes of everything that is to be held, page by page."""
    shared: dict[str, int] = {}
    async for page in _organizations(reconciler):
        found = []
        for facts in page:
            for name, number in forms.items(reconciler.desired(facts)):
                if name == imported.CONSUMER.ref.id:
                    shared[name] = number
                else:
                    found.append((name, number))
        yield found
    yield list(shared.items())


async def _organizations(reconciler: Reconciler) -> AsyncIterator[list[OrganizationFacts]]:
    after = FIRST
    while True:
        async with reconciler.database.transaction() as session:
            rows = await snapshot.open_after(session, after, limit=PAGE_SIZE)
            ids = [id_ for id_, _ in rows]
            facts = await snapshot.organizations(session, ids, now=reconciler.clock.now()) if ids else []
        if not rows:
            return
        after = ids[-1]
        yield facts


async def _list(look: _Look, differing: Mapping[tuple[str, int], Sequence[int]]) -> None:
    """List what stands in the buckets that differ, and note every name that is not the same on both sides."""
    wanted = frozenset(number for numbers in differing.values() for number in numbers)
    sold: dict[int, dict[str, str]] = defaultdict(dict)
    async for page in _sold(look.reconciler):
        for name, number in page:
            if (bucket := contract.bucket_of(name)) in wanted:
                sold[bucket][name] = contract.shown(number)
    for node in look.reconciler.nodes.asked:
        numbers = sorted(
            {each for where, some in differing.items() if where[0] == node.code for each in some}
        )
        for bucket in numbers:
            try:
                answers = await look.reconciler.nodes.bucket(node, bucket)
            except NodeError as error:
                look.report.nodes[node.code].error = error.text
                break
            for held in answers:
                if held.error is None:
                    names = sold[bucket].items() ^ held.items.items()
                    look.candidates[node.code, held.worker].update(name for name, _ in names)


async def _confirm(look: _Look) -> None:
    """Look at the candidates again, and report those that nothing explains."""
    names = sorted({name for some in look.candidates.values() for name in some})
    for where, some in look.candidates.items():
        look.report.nodes[where[0]].unconfirmed += max(0, len(some) - MOST_CONFIRMED)
    known = await _known(look.reconciler, names[:MOST_CONFIRMED])
    held = await _held(look, list(known))
    examined: dict[str, Remedy] = {}
    for where, hashes in held.items():
        of_node = look.report.nodes[where[0]]
        for name in sorted(look.candidates[where] & known.keys()):
            found, one = hashes.get(name), known[name]
            if found == one.now or (name == imported.CONSUMER.ref.id and found in {None, one.now}):
                continue
            if one.waiting is not None:
                of_node.waiting += 1
            elif found == one.then:
                of_node.due += 1
            else:
                remedy = examined.get(name)
                if remedy is None and len(examined) < MOST_EXAMINED:
                    remedy = examined[name] = await _remedy(look.reconciler, forms.ref_of(name), one.resource)
                if remedy is not Remedy.NOT_OURS:
                    sort = "missing" if found is None else "extra" if one.now is None else "differs"
                    text = await _fields(look, where, name, one) if sort == "differs" else ()
                    of_node.add(Difference(name, sort, where[1], remedy or Remedy.UNEXAMINED, text))


@dataclass(frozen=True, slots=True)
class _Known:
    """What one item should be: as of now, and as of the moment at which it was last written."""

    now: str | None = None
    then: str | None = None
    waiting: str | None = None
    resource: Resource | None = None


async def _known(reconciler: Reconciler, names: Sequence[str]) -> dict[str, _Known]:
    """Work out what each of these items should be, from what the database says now."""
    found = dict.fromkeys(names, _Known())
    owners = await _owners(reconciler, names)
    now = reconciler.clock.now()
    for start in range(0, len(owners), PAGE_SIZE):
        ids = owners[start : start + PAGE_SIZE]
        async with reconciler.database.transaction() as session:
            steps = await progress.steps_of(session, reconciler.gateway_id, ids)
            since = min((each.accepted_at for each in steps.values() if each.accepted_at), default=now)
            facts = await snapshot.organizations(session, ids, now=min(since, now))
        for each in facts:
            step = steps[each.id]
            waiting = _waiting(step, now)
            then = _shown(reconciler.desired(each, at=step.accepted_at or now))
            desired = {name: one for one in reconciler.desired(each) if (name := forms.name_of(one.ref))}
            mine = [name for name in names if name.partition("/")[0] == each.public_id]
            for name in {*mine, *(then.keys() & found.keys()), *(desired.keys() & found.keys())}:
                resource = desired.get(name)
                current = None if resource is None else contract.shown(forms.hash_of(resource))
                found[name] = _Known(current, then.get(name), waiting, resource)
    return found


def _shown(resources: Iterable[Resource]) -> dict[str, str]:
    return {name: contract.shown(number) for name, number in forms.items(resources)}


def _waiting(step: progress.Steps, now: datetime) -> str | None:
    if step.accepted_revision < step.revision:
        return step.last_error or "the change is on its way"
    if step.accepted_at is not None and now - step.accepted_at < SETTLING:
        return "the change is a moment old"
    return None


async def _owners(reconciler: Reconciler, names: Sequence[str]) -> list[UUID]:
    consumers = sorted({name.partition("/")[0] for name in names})
    digests = [forms.ref_of(name).id for name in names if name.startswith(imported.CONSUMER.ref.id + "/")]
    async with reconciler.database.transaction() as session:
        return await progress.owners(session, consumers=consumers, digests=digests)


async def _held(look: _Look, names: Sequence[str]) -> Held:
    """Ask every node anew for these items."""
    held: Held = defaultdict(dict)
    for node in look.reconciler.nodes.asked:
        for start in range(0, len(names), contract.MOST_ITEMS):
            some = names[start : start + contract.MOST_ITEMS]
            try:
                answers = await look.reconciler.nodes.hashes(node, some)
            except NodeError as error:
                look.report.nodes[node.code].error = error.text
                break
            for worker in answers:
                if worker.error is None and len(worker.hashes) == len(some):
                    pairs = zip(some, worker.hashes, strict=True)
                    held[node.code, worker.worker].update(
                        {name: each for name, each in pairs if each is not None}
                    )
    return held


async def _remedy(reconciler: Reconciler, ref: Ref, resource: Resource | None) -> Remedy:
    """Ask the gateway's store who is wrong, it or the node's memory."""
    found = await reconciler.client.get(ref)
    if found is not None and not found.ours:
        serves = any(name.startswith(OWN) for name in found.body.get("plugins") or {})
        return Remedy.FOREIGN if serves or resource is not None else Remedy.NOT_OURS
    made = plan([] if resource is None else [resource], [] if found is None else [found])
    return Remedy.MEMORY if made.settled else Remedy.STORE


async def _fields(look: _Look, where: tuple[str, int], name: str, one: _Known) -> tuple[str, ...]:
    """Name the members in which sold and held differ."""
    of_node = look.report.nodes[where[0]]
    if one.resource is None or len(of_node.differences) >= MOST_READ:
        return ()
    node = next(node for node in look.reconciler.nodes.asked if node.code == where[0])
    try:
        answers = await look.reconciler.nodes.text(node, name)
    except NodeError:
        return ()  # the node went away this moment: the next report says so
    text = next((each.text for each in answers if each.worker == where[1]), None)
    return () if text is None else fields_of(forms.text_of(one.resource), text.encode())


async def _few(look: _Look) -> None:
    """Compare plan versions and routes, of which there are few, one by one."""
    reconciler = look.reconciler
    state = await reconciler.state()
    async with reconciler.database.transaction() as session:
        facts = await snapshot.catalogue(session, reconciler.gateway_id)
    if not state.catalogue_settled:
        look.report.catalogue_waits = True
        return
    desired = list(
        translate.catalogue(facts, nonce="", with_routes=True, key_prefix=reconciler.target.key_prefix)
    )
    by_ref = {each.ref: each for each in desired}
    for kind in (Kind.CONSUMER_GROUP, Kind.ROUTE):
        sold = forms.few(desired, kind)
        for (node, number), worker in look.workers.items():
            held = worker.groups if kind is Kind.CONSUMER_GROUP else worker.routes
            names = {name for name, _ in sold.items() ^ held.items() if not name.startswith(OWN)}
            for name in islice(sorted(names), MOST_EXAMINED):
                ref = Ref(kind, name)
                remedy = await _remedy(reconciler, ref, by_ref.get(ref))
                if remedy is not Remedy.NOT_OURS:
                    sort = "missing" if name not in held else "extra" if name not in sold else "differs"
                    look.report.nodes[node].add(Difference(str(ref), sort, number, remedy))


def names_to_rewrite(report: Report) -> list[str]:
    """Return items that the store has right and a node wrong: writing them again may help."""
    found: Iterable[Difference] = (each for node in report.nodes.values() for each in node.differences)
    return sorted({each.name for each in found if each.remedy is Remedy.MEMORY and each.sort != "extra"})
