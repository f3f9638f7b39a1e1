"""A declarative file brought into the database: what differs is found, shown, and changed in one transaction.

Only what differs is touched. Nothing is deleted but with `prune`, and then only what a file of the same owner
made. A plan that differs is published as a new version; plans are never deleted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from farebox.gateways import service as gateways
from farebox.plans import service as plans
from farebox.plans.model import Plan, PlanVersion
from farebox.plans.service import PlanInput
from farebox.products import service
from farebox.products.documents import CatalogueDocument, DocumentError, LineProblem, Loaded
from farebox.products.offers import Policies, ProductSpec, RouteSpec, contradiction
from farebox.products.service import AnySpec, Kept
from farebox.products.upstreams import UpstreamSpec

KINDS: Final[Mapping[str, type[Any]]] = {
    "upstreams": UpstreamSpec,
    "products": ProductSpec,
    "routes": RouteSpec,
}
"""The lists of the file in the order in which they are written; deleted in reverse."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the plan. `fields` names what differs in something that stays."""

    sign: Literal["+", "~", "-"]
    noun: str
    code: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.sign} {self.noun} {self.code}" + (f": {', '.join(self.fields)}" if self.fields else "")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database holds, by list of the file and by code."""

    kept: Mapping[str, Mapping[str, Kept[Any]]]
    plans: Mapping[str, PlanInput]


async def standing(session: AsyncSession) -> Standing:
    """Read everything that a file can speak of."""
    kept = {}
    for name, kind in KINDS.items():
        kept[name] = {each.spec.code: each for each in await service.everything(session, kind)}
    return Standing(kept, {each.code: each for each in await _plans(session)})


def compare(
    document: CatalogueDocument, loaded: Loaded, there: Standing, *, prune: bool = False
) -> list[Change]:
    """Return what applying would change, in its order.

    Raises `DocumentError` where the result would not hold together: something would refer to nothing, or
    belongs to another file.
    """
    _refuse_impossible(document, loaded, there, prune=prune)
    changes: list[Change] = []
    for name, kind in KINDS.items():
        noun = service.NOUNS[kind]
        for each in getattr(document, name):
            found = there.kept[name].get(each.code)
            if found is None:
                changes.append(Change("+", noun, each.code))
            elif fields := _differing(each.document(), found.spec.document()):
                changes.append(Change("~", noun, each.code, fields))
    for plan in document.plans:
        before = there.plans.get(plan.code)
        if before is None:
            changes.append(Change("+", "plan", plan.code))
        elif fields := _differing(plan.model_dump(mode="json"), before.model_dump(mode="json")):
            changes.append(Change("~", "plan", plan.code, fields))
    if prune:
        for name, code in _prunable(document, there):
            changes.append(Change("-", service.NOUNS[KINDS[name]], code))
    return changes


async def apply(
    session: AsyncSession, document: CatalogueDocument, loaded: Loaded, *, prune: bool, now: datetime
) -> list[Change]:
    """Bring the database to what the file says, and tell the gateways once; returns what was changed."""
    await service.lock(session)
    changes = compare(document, loaded, await standing(session), prune=prune)
    wanted: dict[tuple[str, str], AnySpec] = {
        (service.NOUNS[kind], each.code): each
        for name, kind in KINDS.items()
        for each in getattr(document, name)
    }
    by_noun = {noun: kind for kind, noun in service.NOUNS.items()}
    offered = {plan.code: plan for plan in document.plans}
    for change in changes:
        if change.noun == "plan":
            await plans.publish(session, offered[change.code], now=now)
        elif change.sign == "-":
            await service.erase(session, by_noun[change.noun], change.code)
        else:
            await service.keep(session, wanted[change.noun, change.code], made_by=document.owner)
    if changes:
        await gateways.touch_catalogue(session)
    return changes


async def dump(session: AsyncSession) -> dict[str, Any]:
    """Return everything as a file would say it, brief; applying it changes nothing."""
    there = await standing(session)
    found: dict[str, Any] = {"version": 1}
    for name in KINDS:
        found[name] = [each.spec.brief() for each in there.kept[name].values()]
    found["plans"] = [each.model_dump(mode="json", exclude_defaults=True) for each in there.plans.values()]
    return {name: value for name, value in found.items() if value}


async def _plans(session: AsyncSession) -> list[PlanInput]:
    newest = (
        select(Plan, PlanVersion)
        .join(PlanVersion, PlanVersion.plan_id == Plan.id)
        .where(PlanVersion.state == "published")
        .ext(distinct_on(Plan.code))
        .order_by(Plan.code, PlanVersion.version.desc())
    )
    return [_plan(plan, version) for plan, version in await session.execute(newest)]


def _plan(plan: Plan, version: PlanVersion) -> PlanInput:
    """Return a published version as the document that it was published from."""
    of_plan = {"code", "name", "public"}
    return PlanInput.model_validate(
        {name: getattr(plan if name in of_plan else version, name) for name in PlanInput.model_fields}
    )


def _differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name)))


def _prunable(document: CatalogueDocument, there: Standing) -> Iterable[tuple[str, str]]:
    for name in reversed(tuple(KINDS)):
        named = {each.code for each in getattr(document, name)}
        for code, found in there.kept[name].items():
            if found.managed_by == document.owner and code not in named:
                yield name, code


def _refuse_impossible(document: CatalogueDocument, loaded: Loaded, there: Standing, *, prune: bool) -> None:
    """Check the catalogue as it would stand afterwards, whoever made which part of it."""
    gone = set(_prunable(document, there)) if prune else set()
    after: dict[str, dict[str, Any]] = {
        name: {
            **{code: found.spec for code, found in there.kept[name].items() if (name, code) not in gone},
            **{each.code: each for each in getattr(document, name)},
        }
        for name in KINDS
    }
    at = {
        (name, each.code): (name, index)
        for name in KINDS
        for index, each in enumerate(getattr(document, name))
    }

    def problem(name: str, code: str, where: str, text: str) -> LineProblem:
        place = at.get((name, code))
        noun = service.NOUNS[KINDS[name]]
        if place is None:
            return LineProblem(1, f"{noun} {code} (not in this file)", f"{where}: {text}")
        return loaded.problem((*place, *where.split(".")), text)

    problems: list[LineProblem] = []
    for name, code in at:
        found = there.kept[name].get(code)
        if found is not None and found.managed_by not in {None, document.owner}:
            said = f"was made by the file with owner {found.managed_by!r}; change it there"
            problems.append(problem(name, code, "code", said))
    for name in ("products", "routes"):
        for code, spec in after[name].items():
            for where, text in _loose_ends(spec, after):
                problems.append(problem(name, code, where, text))
    if problems:
        raise DocumentError(problems)


def _loose_ends(spec: Policies, after: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    remedy = "is neither in the file nor in the database; add it"
    if spec.upstream is not None and spec.upstream not in after["upstreams"]:
        yield "upstream", f"upstream {spec.upstream!r} {remedy}"
    if spec.release is not None and spec.release.upstream not in after["upstreams"]:
        yield "release.upstream", f"upstream {spec.release.upstream!r} {remedy}"
    if isinstance(spec, RouteSpec):
        if spec.product is not None and spec.product not in after["products"]:
            yield "product", f"product {spec.product!r} {remedy}"
        elif found := contradiction(spec, after["products"][spec.product] if spec.product else None):
            yield found
