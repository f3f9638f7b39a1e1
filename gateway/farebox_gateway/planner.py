"""What must change at a gateway, as a list of steps that can be printed, tested and counted.

Pure: desired and observed in, plan out. Only what carries our label is changed or deleted. An object that
stands where one of ours should, without the label, is a conflict: it is reported and left alone. So is a
consumer that carries a higher revision than the one we were told to write: whoever wrote it knew more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Final, Literal

from farebox_gateway.defaults import normal
from farebox_gateway.resources import (
    PERIOD_LABEL,
    REVISION_LABEL,
    WRITE_ORDER,
    Kind,
    Observed,
    Ref,
    Resource,
    revision_of,
)

Schemas = Mapping[str, Mapping[str, Any]]
_NO_SCHEMAS: Final[Schemas] = {}
_RANK: Final = {kind: rank for rank, kind in enumerate(WRITE_ORDER)}
FENCED: Final = frozenset({Kind.CONSUMER})
"""Kinds whose revision label counts: it moves with every change, so that an older snapshot is recognised.
The label of the other kinds says when they were last written, and alone is no reason to write."""


class Why(StrEnum):
    """Why a step is there."""

    MISSING = "missing"
    OUTDATED = "outdated"
    CHANGED = "changed by others"
    NOT_WANTED = "not wanted any more"


class Hindrance(StrEnum):
    """Why something that should be done is not."""

    FOREIGN = "it does not carry the label managed-by=farebox; rename it or delete it by hand"
    AHEAD = "the gateway carries a newer revision than the database: was the database restored?"
    HOLDS_FOREIGN = "it holds credentials that are not ours; delete them by hand"


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the Admin API. `body` is what to put; `fields` names what differs, for people."""

    verb: Literal["put", "delete"]
    ref: Ref
    why: Why
    body: Mapping[str, Any] | None = None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in a line: what is done, to which resource, and why."""
        fields = f": {', '.join(self.fields)}" if self.fields else ""
        return f"{self.verb:<6} {self.ref}  ({self.why}{fields})"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that is left alone although it is in the way, or cannot be written and why."""

    ref: Ref
    hindrance: Hindrance | str

    def __str__(self) -> str:
        """Say it in a line."""
        return f"leave  {self.ref}  ({self.hindrance})"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in their order; what is in the way; and what is there that nobody of ours put there."""

    steps: tuple[Step, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    foreign: tuple[Ref, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether there is nothing to do and nothing in the way."""
        return not self.steps and not self.conflicts


def plan(
    desired: Iterable[Resource],
    observed: Iterable[Observed],
    *,
    plugin_schemas: Schemas = _NO_SCHEMAS,
    overwrite_newer: bool = False,
) -> Plan:
    """Return what brings `observed` to `desired`: writes in `WRITE_ORDER`, then deletes in reverse.

    `observed` must be everything that stands at the kinds and consumers in question: what is not among it is
    taken to be absent, what is ours and not desired is deleted. `overwrite_newer` writes over higher
    revisions too, after a database was restored on purpose.
    """
    wanted = {resource.ref: resource for resource in desired}
    standing = {found.ref: found for found in observed}
    puts: list[Step] = []
    conflicts: list[Conflict] = []
    for resource in wanted.values():
        found = standing.get(resource.ref)
        if found is None:
            puts.append(Step("put", resource.ref, Why.MISSING, resource.body))
        elif not found.ours:
            conflicts.append(Conflict(resource.ref, Hindrance.FOREIGN))
        elif (step := _replace(resource, found, plugin_schemas)) is not None:
            puts.append(step)
    if not overwrite_newer:
        ahead = _ahead(wanted, standing)
        conflicts += [Conflict(Ref(Kind.CONSUMER, name), Hindrance.AHEAD) for name in sorted(ahead)]
        puts = [step for step in puts if _consumer_of(step.ref) not in ahead]
    else:
        ahead = frozenset()
    deletes, kept = _deletes(wanted, standing, ahead)
    foreign = tuple(ref for ref, found in standing.items() if not found.ours and ref not in wanted)
    steps = chain(
        sorted(puts, key=lambda step: (_RANK[step.ref.kind], step.ref.path)),
        sorted(deletes, key=lambda step: (-_RANK[step.ref.kind], step.ref.path)),
    )
    return Plan(tuple(steps), (*conflicts, *kept), foreign)


def differences(resource: Resource, found: Observed, plugin_schemas: Schemas = _NO_SCHEMAS) -> list[str]:
    """Name the members in which the two differ, as far as that is a reason to write."""
    kind, id_ = resource.ref.kind, resource.ref.id
    left = normal(kind, id_, resource.body, plugin_schemas=plugin_schemas)
    right = normal(kind, id_, found.body, plugin_schemas=plugin_schemas)
    if kind not in FENCED:
        for side in (left, right):
            side["labels"] = {k: v for k, v in (side.get("labels") or {}).items() if k != REVISION_LABEL}
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def _replace(resource: Resource, found: Observed, plugin_schemas: Schemas) -> Step | None:
    fields = differences(resource, found, plugin_schemas)
    if not fields:
        return None
    wanted = Observed(resource.ref, resource.body).labels
    same_state = all(wanted.get(name) == found.labels.get(name) for name in (REVISION_LABEL, PERIOD_LABEL))
    why = Why.CHANGED if same_state else Why.OUTDATED
    return Step("put", resource.ref, why, resource.body, tuple(fields))


def _ahead(wanted: Mapping[Ref, Resource], standing: Mapping[Ref, Observed]) -> frozenset[str]:
    """Return the consumers that carry a higher revision than the one we hold."""
    return frozenset(
        ref.id
        for ref, resource in wanted.items()
        if ref.kind in FENCED
        and (found := standing.get(ref)) is not None
        and found.ours
        and found.revision > revision_of(resource)
    )


def _deletes(
    wanted: Mapping[Ref, Resource], standing: Mapping[Ref, Observed], ahead: frozenset[str]
) -> tuple[list[Step], list[Conflict]]:
    """Return what of ours is to go. A consumer takes its credentials with it, so foreign ones keep it."""
    holding_foreign = {
        ref.consumer for ref, found in standing.items() if ref.kind is Kind.CREDENTIAL and not found.ours
    }
    deletes: list[Step] = []
    kept: list[Conflict] = []
    for ref, found in standing.items():
        if not found.ours or ref in wanted or _consumer_of(ref) in ahead:
            continue
        if ref.kind is Kind.CONSUMER and ref.id in holding_foreign:
            kept.append(Conflict(ref, Hindrance.HOLDS_FOREIGN))
        else:
            deletes.append(Step("delete", ref, Why.NOT_WANTED))
    return deletes, kept


def _consumer_of(ref: Ref) -> str:
    return ref.id if ref.kind is Kind.CONSUMER else ref.consumer
