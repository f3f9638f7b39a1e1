"""`farebox plan`: the catalogue from the command line, as the worker's role.

Plans are described by files (JSON); a published version never changes. What each field means: docs/plans.md.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction, with_database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.db import Database
    from farebox.plans.model import Plan, PlanVersion
    from farebox.plans.service import PlanInput

T = TypeVar("T")
pass_settings = click.make_pass_decorator(Settings)
_ACTOR = "operator farebox command"
_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group
def plan() -> None:
    """The plans on offer, and their versions."""


@plan.command("publish")
@click.argument("what")
@json_option
@pass_settings
def publish(settings: Settings, *, what: str, as_json: bool) -> None:
    """Publish WHAT: a file (JSON), as the plan's next version, or a draft by its code (starter-2).

    Nobody's running plan changes by it.
    """

    async def act(session: "AsyncSession") -> str:
        from farebox.plans import editing, service

        if document is None:
            return (await editing.publish(session, what, now=datetime.now(UTC))).code
        return (await service.publish(session, document, now=datetime.now(UTC))).code

    path = Path(what)
    if path.suffix == ".json" and not path.is_file():
        raise CommandError(f"There is no file {what}.", exit_code=Exit.USAGE)
    document = _document(path) if path.is_file() else None
    _show(settings, _in_transaction(settings, act), as_json=as_json)


@plan.command("draft")
@_file
@json_option
@pass_settings
def draft(settings: Settings, *, file: Path, as_json: bool) -> None:
    """Add the plan's next version that FILE (JSON) describes as a draft; nobody is offered it."""

    async def act(session: "AsyncSession") -> str:
        from farebox.plans import editing

        return (await editing.draft(session, document)).code

    document = _document(file)
    _show(settings, _in_transaction(settings, act), as_json=as_json)


@plan.command("withdraw")
@click.argument("version")
@json_option
@pass_settings
def withdraw(settings: Settings, *, version: str, as_json: bool) -> None:
    """Offer VERSION (starter-1) no more; who is on it stays."""

    async def act(session: "AsyncSession") -> str:
        from farebox.plans import editing

        return (await editing.withdraw(session, version)).code

    _show(settings, _in_transaction(settings, act), as_json=as_json)


@plan.command("delete")
@click.argument("what")
@pass_settings
def delete(settings: Settings, *, what: str) -> None:
    """Delete WHAT: a draft (starter-2), or a plan that was never published (starter)."""

    async def act(session: "AsyncSession") -> None:
        from farebox.plans import editing

        known = {version.code for _, version, _ in await editing.versions(session)}
        await (editing.delete_draft if what in known else editing.delete_plan)(session, what)

    _in_transaction(settings, act)
    say(f"{what} is deleted.")


@plan.command("list")
@click.option("--all", "everything", is_flag=True, help="Drafts, withdrawn and older versions too.")
@json_option
@pass_settings
def list_plans(settings: Settings, *, everything: bool, as_json: bool) -> None:
    """List the newest published version of every plan, hidden ones too."""
    _show(settings, None, as_json=as_json, everything=everything)


@plan.command("move")
@click.option("--from", "source", required=True, help="The version that organizations leave (starter-1).")
@click.option("--to", "target", required=True, help="The version that they get (starter-2).")
@click.option("--at", type=click.Choice(["period_end", "now"]), default="period_end", show_default=True)
@click.option("--dry-run", is_flag=True, help="Only say how many would be moved.")
@json_option
@pass_settings
def move(
    settings: Settings,
    *,
    source: str,
    target: str,
    at: Literal["period_end", "now"],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move everybody on one version to another, organization by organization.

    Killed half-way, run it again: whoever was moved is not moved twice.
    """

    async def work(database: "Database") -> Counter[str]:
        from farebox.plans import editing, service
        from farebox.problems import Refusal
        from farebox.subscriptions import moving

        async with database.transaction() as session:
            leaving = await editing.version_named(session, source)
            coming = await editing.version_named(session, target)
            if coming.state == "draft":
                raise CommandError(f"{target} is a draft; publish it first.")
            offer = await service.offer_of_version(session, coming.id)
            found: list[UUID] = await editing.riders(session, leaving.id)
        counts: Counter[str] = Counter({"found": len(found)})
        for organization in found:
            async with database.transaction(dry_run=dry_run) as session:
                try:
                    became = await moving.move(
                        session,
                        organization,
                        offer,
                        source=leaving.id,
                        when=at,
                        wall=datetime.now(UTC),
                        actor=_ACTOR,
                    )
                except Refusal as refusal:
                    raise CommandError(refusal.message) from None
            counts[became] += 1
        return counts

    counts = _refusing(lambda: asyncio.run(with_database(settings, work)))
    columns = ["found", "moved", "scheduled", "left"]
    document = {**{name: counts[name] for name in columns}, "dry_run": dry_run}
    emit(document, as_json=as_json, tables=Table(columns, [[counts[name] for name in columns]]))


def _document(file: Path) -> "PlanInput":
    from pydantic import ValidationError

    from farebox.plans.service import PlanInput

    try:
        return PlanInput.model_validate_json(file.read_bytes())
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        said = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in found)
        raise CommandError(f"{file} describes no plan. {said}.", exit_code=Exit.USAGE) from None


def _show(settings: Settings, code: str | None, *, as_json: bool, everything: bool = False) -> None:
    """Show one version, or the newest published of each plan, or all."""

    async def act(session: "AsyncSession") -> "list[tuple[Plan, PlanVersion, int]]":
        from farebox.plans import editing

        return await editing.versions(session)

    from farebox.plans.service import as_offer
    from farebox.plans.views import plan_view

    found = _in_transaction(settings, act)
    if code is not None:
        found = [each for each in found if each[1].code == code]
    elif not everything:
        newest = {each[0].code: each for each in found if each[1].state == "published"}
        found = list(newest.values())
    rows: list[list[Any]] = [
        [
            plan.code,
            version.version,
            version.state,
            plan.name,
            version.currency,
            ", ".join(f"{limit['requests']:,} in {limit['window']} s" for limit in version.limits),
            f"{version.quota['units']:,} {version.quota['kind']}" if version.quota else None,
            organizations,
        ]
        for plan, version, organizations in found
    ]
    columns = ["plan", "version", "state", "name", "currency", "limits", "quota", "organizations"]
    document = [
        {
            **plan_view(as_offer(plan, version)).model_dump(),
            "state": version.state,
            "organizations": organizations,
        }
        for plan, version, organizations in found
    ]
    emit(document, as_json=as_json, tables=Table(columns, rows))


def _in_transaction(settings: Settings, act: "Callable[[AsyncSession], Awaitable[T]]") -> T:
    return _refusing(lambda: in_one_transaction(settings, act))


def _refusing(work: "Callable[[], T]") -> T:
    from farebox.problems import Refusal

    try:
        return work()
    except Refusal as refusal:
        raise CommandError(refusal.message) from None
