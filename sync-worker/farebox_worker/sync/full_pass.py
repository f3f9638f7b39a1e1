"""The survey, acted upon: everything that differs is brought right, and what was found is reported.

The survey only finds; each repair goes the one way that every change goes, which looks again before it
writes. A pass that finds nothing to do sends no write. Drift is what somebody else has done: objects changed
or deleted behind our back, and objects that are not ours among ours.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog

from farebox_gateway.planner import Plan, Step, Why
from farebox_gateway.resources import Kind
from farebox_worker.sync import imported, progress, survey
from farebox_worker.sync.pushing import push
from farebox_worker.sync.reconcile import CONSUMER_KINDS, Reconciler
from farebox_worker.sync.survey import Finding

SCOPES: Final = ("all", "keys", "cleanup")
EXAMPLES: Final = 20
BATCH: Final = 500
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Report:
    """What a pass found and did. `drift` counts by sort and names the first of each."""

    scope: str
    organizations: int = 0
    changed: int = 0
    writes: int = 0
    removed: int = 0
    unknown: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    failed: int = 0
    drift: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    catalogue_error: str | None = None
    complete: bool = False
    seconds: float = 0.0

    def found(self, sort: str, what: str) -> None:
        """Count a drift and keep its name if it is among the first."""
        self.drift[sort] += 1
        if len(self.examples[sort]) < EXAMPLES:
            self.examples[sort].append(what)

    def fail(self, name: str, error: str) -> None:
        """Count a failure and keep its text if it is among the first."""
        self.failed += 1
        if len(self.failures) < EXAMPLES:
            self.failures[name] = error

    def document(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {
            "scope": self.scope,
            "complete": self.complete,
            "seconds": round(self.seconds, 3),
            "organizations": self.organizations,
            "changed": self.changed,
            "writes": self.writes,
            "removed": self.removed,
            "unknown_consumers": self.unknown,
            "failed": self.failed,
            "failures": dict(self.failures),
            "drift": dict(sorted(self.drift.items())),
            "drift_examples": {sort: list(names) for sort, names in sorted(self.examples.items())},
            "catalogue_error": self.catalogue_error,
        }


async def run(reconciler: Reconciler, *, scope: str = "all", stop: asyncio.Event) -> Report:
    """Run a pass. `all` brings everything right; `keys` credentials alone; `cleanup` removes consumers of
    ours whose organization is closed or unknown. Raises what the gateway's and the database's clients raise.

    A consumer of ours whose organization is unknown is removed by `cleanup` alone: an installation that lost
    its database must not empty its gateway.
    """
    if scope not in SCOPES:
        raise ValueError(f"a pass covers one of {', '.join(SCOPES)}, not {scope!r}")
    loop = asyncio.get_running_loop()
    began = loop.time()
    report = Report(scope)
    writes_before = reconciler.client.calls.writes
    if scope == "all":
        await _catalogue(reconciler, report)
    unknown: list[str] = []
    async for findings in survey.consumers(reconciler, stop=stop):
        await _act(reconciler, findings, report, unknown)
    await _imported(reconciler, report)
    if scope == "cleanup":
        await _remove(reconciler, unknown, report)
    report.complete = not stop.is_set()
    if scope == "all" and report.complete and reconciler.client.calls.writes > writes_before:
        report.catalogue_error = (await reconciler.catalogue(changed_elsewhere=True)).error
    report.writes = reconciler.client.calls.writes - writes_before
    report.seconds = loop.time() - began
    if scope == "all" and report.complete:
        async with reconciler.database.transaction() as session:
            await progress.record_full_pass(session, reconciler.gateway_id, report.document())
    said = {name: value for name, value in report.document().items() if value}
    log.info("gateway_pass", gateway=reconciler.target.code, **said)
    return report


async def _imported(reconciler: Reconciler, report: Report) -> None:
    """Remove what stands of imported keys that have ended; of unknown ones, in a cleanup alone."""
    strays = await imported.strays(reconciler)
    report.unknown += len(strays.unknown)
    for step in strays.unknown:
        report.found("unknown imported key", str(step.ref))
    steps = strays.ended if report.scope != "cleanup" else (*strays.ended, *strays.unknown)
    for refused in await push(reconciler.client, steps, fence=reconciler.fence, slots=reconciler.slots):
        report.fail(imported.CONSUMER.ref.id, refused)
    report.removed += len(steps)


async def _catalogue(reconciler: Reconciler, report: Report) -> None:
    before = await reconciler.state()
    result = await reconciler.catalogue()
    _drift(report, result.plan, known=before.applied_catalogue_revision >= result.revision)
    for ref in result.plan.foreign:
        report.found("foreign", str(ref))
    report.catalogue_error = result.error


async def _remove(reconciler: Reconciler, unknown: Iterable[str], report: Report) -> None:
    for name in unknown:
        refused = await reconciler.remove_consumer(name)
        if refused:
            report.fail(name, "; ".join(refused))
        else:
            report.removed += 1


async def _act(
    reconciler: Reconciler, findings: Collection[Finding], report: Report, unknown: list[str]
) -> None:
    """Count what was found, and repair what the scope covers."""
    suspects: list[UUID] = []
    known = await _accepted(reconciler, findings)
    for finding in findings:
        facts = finding.organization
        for ref in finding.plan.foreign:
            report.found("foreign", str(ref))
        if facts is None:
            if finding.ours:
                report.unknown += 1
                report.found("unknown organization", f"consumers/{finding.name}")
                unknown.append(finding.name)
            continue
        report.organizations += facts.state != "closed"
        if finding.plan.settled:
            continue
        _drift(report, finding.plan, known=known.get(facts.id, 0) >= facts.revision)
        if facts.state == "closed" or report.scope != "cleanup":
            suspects.append(facts.id)
            report.removed += facts.state == "closed"
    kinds = {Kind.CREDENTIAL} if report.scope == "keys" else CONSUMER_KINDS
    for start in range(0, len(suspects), BATCH):
        for outcome in await reconciler.organizations(suspects[start : start + BATCH], kinds=kinds):
            report.changed += outcome.writes > 0
            if outcome.error is not None:
                report.fail(outcome.name, outcome.error)


async def _accepted(reconciler: Reconciler, findings: Iterable[Finding]) -> dict[UUID, int]:
    ids = [each.organization.id for each in findings if each.organization and not each.plan.settled]
    if not ids:
        return {}
    async with reconciler.database.transaction() as session:
        return await progress.accepted(session, reconciler.gateway_id, ids)


def _drift(report: Report, made: Plan, *, known: bool) -> None:
    """Count what others did. `known` says that we had brought this to its present revision before."""
    for step in made.steps:
        sort = _sort(step)
        if step.why is Why.CHANGED or (known and sort == "missing"):
            report.found(sort, str(step.ref))
    for conflict in made.conflicts:
        report.found("in the way", f"{conflict.ref}: {conflict.hindrance}")


def _sort(step: Step) -> str:
    return {Why.CHANGED: "changed", Why.MISSING: "missing"}.get(step.why, "other")
