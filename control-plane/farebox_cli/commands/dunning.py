"""`farebox dunning`: unpaid invoices, what would follow by a date, and what operators change about it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError
from farebox_cli.output import Table, emit, json_option
from farebox_cli.worker_database import in_one_transaction, organization_id, read_instant

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.dunning.fields import CaseWithSteps, PreviewView

T = TypeVar("T")
pass_settings = click.make_pass_decorator(Settings)
_ACTOR: Final = "operator command"
_case = click.argument("case_id")
_COLUMNS: Final = [
    "id",
    "organization",
    "number",
    "open",
    "state",
    "next_step",
    "next_step_at",
    "suspends_at",
]


@click.group
def dunning() -> None:
    """Unpaid invoices: reminders, charges, the end of service, and its return."""


@dunning.command("list")
@click.option("--organization", help="org_…; left out: all.")
@click.option("--state", type=click.Choice(["open", "paused", "exhausted", "resolved"]))
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@pass_settings
def list_cases(
    settings: Settings, *, organization: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List cases, the newest first; all but resolved ones unless --state says so."""

    async def act(session: "AsyncSession") -> list[dict[str, Any]]:
        from farebox.dunning.fields import read_cases

        owner = None if organization is None else await organization_id(session, organization)
        found = await read_cases(session, organization_id=owner, state=state, limit=limit)
        return [view.model_dump(mode="json") for _, view in found]

    rows = _run(settings, act)
    emit(
        rows,
        as_json=as_json,
        tables=Table(_COLUMNS, [[_cell(row[name]) for name in _COLUMNS] for row in rows]),
    )


@dunning.command("show")
@_case
@json_option
@pass_settings
def show(settings: Settings, *, case_id: str, as_json: bool) -> None:
    """Show CASE_ID (dun_…) with everything that was done."""

    async def act(session: "AsyncSession") -> "CaseWithSteps":
        return await _shown(session, _read(case_id))

    _emit_case(_run(settings, act), as_json=as_json)


@dunning.command("preview")
@click.option("--on", "on", help="A day (2026-12-01, to its end in UTC) or a time. Left out: tonight.")
@click.option("--organization", help="org_…; left out: all.")
@json_option
@pass_settings
def preview(settings: Settings, *, on: str | None, organization: str | None, as_json: bool) -> None:
    """Say who would be reminded, charged and cut off if nobody paid, and who not and why."""

    async def act(session: "AsyncSession") -> "PreviewView":
        from farebox.dunning import fields, foretelling

        wall = datetime.now(UTC)
        until = foretelling.tonight(wall) if on is None else _until(on)
        owner = None if organization is None else await organization_id(session, organization)
        found = [
            each
            async for each in foretelling.foretell(session, until=until, wall=wall, organization_id=owner)
        ]
        return fields.preview(until, found)

    seen = _run(settings, act)
    rows = [
        [
            each.organization,
            each.number,
            f"{each.open.currency} {each.open.decimal}",
            f"{each.due_at:%Y-%m-%d}",
            ", ".join(f"{step.kind} {step.number}" for step in each.steps) or None,
            None if each.suspends_at is None else f"{each.suspends_at:%Y-%m-%d %H:%M}",
            each.kept,
        ]
        for each in seen.items
    ]
    columns = ["organization", "invoice", "open", "due", "would be done", "cut off at", "not cut off because"]
    note = f"By {seen.until:%Y-%m-%d %H:%M} UTC: {seen.reminded} reminded, {seen.charged} charged, "
    emit(seen, as_json=as_json, tables=Table(columns, rows, note=f"{note}{seen.cut_off} cut off."))


@dunning.command("pause")
@_case
@click.option("--reason", required=True, help="Why; it stays on the case.")
@json_option
@pass_settings
def pause(settings: Settings, *, case_id: str, reason: str, as_json: bool) -> None:
    """Do nothing more about CASE_ID (dun_…); who was cut off for it is served again."""

    async def act(session: "AsyncSession") -> "CaseWithSteps":
        from farebox.dunning import service

        found = _read(case_id)
        await service.pause(session, found, because=reason, actor=_ACTOR, wall=datetime.now(UTC))
        return await _shown(session, found)

    _emit_case(_run(settings, act), as_json=as_json)


@dunning.command("resume")
@_case
@json_option
@pass_settings
def resume(settings: Settings, *, case_id: str, as_json: bool) -> None:
    """Go on with CASE_ID (dun_…); its grace begins anew."""

    async def act(session: "AsyncSession") -> "CaseWithSteps":
        from farebox.dunning import service

        found = _read(case_id)
        await service.resume(session, found, wall=datetime.now(UTC))
        return await _shown(session, found)

    _emit_case(_run(settings, act), as_json=as_json)


@dunning.command("exempt")
@click.argument("organization")
@click.option("--reason", help="Why; it stays with the organization.")
@click.option("--until", help="A time of the organization's own; left out: for good.")
@click.option("--end", is_flag=True, help="End the exemption; grace begins anew.")
@json_option
@pass_settings
def exempt(
    settings: Settings, *, organization: str, reason: str | None, until: str | None, end: bool, as_json: bool
) -> None:
    """Never cut ORGANIZATION (org_…) off; it is reminded and charged as before."""
    if end == (reason is not None):
        raise click.UsageError("Say either --reason or --end.")

    async def act(session: "AsyncSession") -> dict[str, Any]:
        from farebox.dunning import rules

        owner, wall = await organization_id(session, organization), datetime.now(UTC)
        if reason is None:
            await rules.end_exemption(session, owner, actor=_ACTOR, wall=wall)
        else:
            last = None if until is None else read_instant(until, option="--until")
            await rules.exempt(session, owner, because=reason, until=last, actor=_ACTOR, wall=wall)
        found = await rules.standing(session, owner)
        return {"organization": organization, "exempt": found.exempt_because, "until": found.exempt_until}

    _emit_row(_run(settings, act), as_json=as_json)


@dunning.command("rules")
@click.option("--organization", help="org_…: its own rules.")
@click.option("--plan", help="A plan's rules. Left out both: the house's.")
@click.option("--retries", help="Days after the due date, such as 0,3,5,7.")
@click.option("--reminders", help="Days after the due date, such as 1,7,12.")
@click.option("--grace", type=int, help="At least so many days from a case's opening to the end of service.")
@click.option("--suspend-after", help="Days after the due date, or `never`.")
@click.option("--clear", is_flag=True, help="Name nothing any more: what lies below holds.")
@json_option
@pass_settings
def rules_command(
    settings: Settings,
    /,
    *,
    organization: str | None,
    plan: str | None,
    clear: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Show rules, or set those that are named; days are counted from the due date."""
    layer = _layer(**given)
    if organization is not None and plan is not None:
        raise click.UsageError("Say either --organization or --plan.")
    if clear and (layer or (organization is None and plan is None)):
        raise click.UsageError("--clear takes a plan or an organization, and nothing else.")

    async def act(session: "AsyncSession") -> dict[str, Any]:
        from farebox.dunning import rules

        wall = datetime.now(UTC)
        if organization is not None:
            owner = await organization_id(session, organization)
            before = dict((await rules.standing(session, owner)).own)
            if layer or clear:
                await rules.set_own(session, owner, {} if clear else before | layer, actor=_ACTOR, now=wall)
            return dict((await rules.standing(session, owner)).own)
        if plan is not None:
            before = await rules.of_plan(session, plan)
            if layer or clear:
                await rules.set_for_plan(
                    session, plan, {} if clear else before | layer, actor=_ACTOR, now=wall
                )
            return await rules.of_plan(session, plan)
        if layer:
            await rules.set_house(session, layer, actor=_ACTOR, now=wall)
        return await rules.house_layer(session)

    _emit_row(_run(settings, act), as_json=as_json)


def _layer(
    *, retries: str | None, reminders: str | None, grace: int | None, suspend_after: str | None
) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in (("retries", retries), ("reminders", reminders)):
        if value is not None:
            named[name] = [_days(each, f"--{name}") for each in value.split(",") if each.strip()]
    if grace is not None:
        named["grace"] = grace
    if suspend_after is not None:
        never = suspend_after == "never"
        named["suspend_after"] = None if never else _days(suspend_after, "--suspend-after")
    return named


def _days(value: str, option: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no number of days", param_hint=option) from None


def _until(on: str) -> datetime:
    moment = read_instant(on, option="--on")
    return moment + timedelta(days=1) if len(on) == len("2026-12-01") else moment


def _emit_case(case: "CaseWithSteps", *, as_json: bool) -> None:
    shown = case.model_dump(mode="json")
    steps = shown.pop("steps")
    columns = ["kind", "number", "state", "planned_at", "at", "outcome", "payment"]
    tables = [
        Table(["what", "value"], [[name, _cell(value)] for name, value in shown.items()]),
        Table(columns, [[step[name] for name in columns] for step in steps], title="steps"),
    ]
    emit(case, as_json=as_json, tables=tables)


def _emit_row(row: dict[str, Any], *, as_json: bool) -> None:
    emit(row, as_json=as_json, tables=Table(["what", "value"], [[name, _cell(row[name])] for name in row]))


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return f"{value['currency']} {value['decimal']}"
    return ", ".join(map(str, value)) if isinstance(value, list) else value


async def _shown(session: "AsyncSession", case_id: "UUID") -> "CaseWithSteps":
    from farebox.dunning.fields import read_case

    found = await read_case(session, case_id)
    if found is None:
        raise CommandError("There is no such case; `farebox dunning list` shows them.")
    return found


def _read(text: str) -> "UUID":
    from farebox import ids

    try:
        return ids.decode("dun", text)
    except ids.MalformedIdError as error:
        raise click.BadParameter(str(error)) from None


def _run(settings: Settings, act: "Callable[[AsyncSession], Awaitable[T]]") -> T:
    """Act in one transaction. Refusals become one line."""
    import farebox.tables  # noqa: F401 - rows that are written must know every table they point to
    from farebox.problems import Refusal

    try:
        return in_one_transaction(settings, act)
    except Refusal as refusal:
        raise CommandError(refusal.message) from None
