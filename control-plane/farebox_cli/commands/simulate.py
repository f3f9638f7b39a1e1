"""`farebox simulate`: any plan over real past usage, revenue and refusals both. Changes nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option
from farebox_cli.worker_database import in_one_transaction, organization_id, read_instant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox_cli.simulate.outcome import Facts, Outcome

pass_settings = click.make_pass_decorator(Settings)


@dataclass(frozen=True, slots=True)
class _Stretch:
    start: datetime
    end: datetime


@click.command
@click.option(
    "--plan",
    "file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The plan as JSON, in the form that `farebox plan publish` takes.",
)
@click.option("--org", "organization", required=True, help="Whose past usage (org_…).")
@click.option("--from", "since", required=True, help="RFC 3339, in the organization's own time.")
@click.option("--to", "until", required=True, help="RFC 3339, not included.")
@click.option(
    "--logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Raw usage lines, files or folders; otherwise the archive and the folder of the usage log.",
)
@click.option("--without-limits", is_flag=True, help="Price only; look at no raw lines.")
@json_option
@pass_settings
def simulate(
    settings: Settings,
    *,
    file: Path,
    organization: str,
    since: str,
    until: str,
    logs: tuple[Path, ...],
    without_limits: bool,
    as_json: bool,
) -> None:
    """Run a plan over past usage: what it would have earned by line, and what its limits would have refused.

    Prices come from what was metered; refusals need the raw usage lines, request by request, and the answer
    says how many of the metered requests were found there.
    """
    stretch = _Stretch(read_instant(since, option="--from"), read_instant(until, option="--to"))
    if stretch.start >= stretch.end:
        raise click.BadParameter("must be later than --from", param_hint="--to")
    document = _plan(file)
    outcome = _run(
        settings, document, organization, stretch, None if without_limits else _logs(settings, logs)
    )
    emit(_as_json(outcome), as_json=as_json, tables=_tables(outcome))


def _run(
    settings: Settings,
    document: dict[str, Any],
    organization: str,
    stretch: _Stretch,
    logs: Sequence[Path] | None,
) -> "Outcome":
    from farebox.invoices.rating import RatingError
    from farebox_cli.simulate import outcome, pricing
    from farebox_worker.collect.sources import UnreadableError

    async def act(session: "AsyncSession") -> "Facts":
        owner = await organization_id(session, organization)
        return await outcome.facts(session, owner, pricing.plan_of(document), stretch.start, stretch.end)

    try:
        facts = in_one_transaction(settings, act)
        refusals, found = (None, 0) if logs is None else outcome.refusals(facts, document, logs)
    except RatingError as error:
        raise CommandError(f"This plan cannot be priced from what was metered: {error}.") from None
    except UnreadableError as error:
        raise CommandError(str(error)) from None
    return outcome.Outcome(facts, refusals, found)


def _plan(file: Path) -> dict[str, Any]:
    """Read and check the plan as publishing would. Raises `CommandError` naming the field."""
    from pydantic import ValidationError

    from farebox.plans.service import PlanInput

    try:
        document = json.loads(file.read_text())
        PlanInput.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CommandError(f"{file}: {field}: {first['msg']}", exit_code=Exit.USAGE) from None
    except ValueError as error:
        raise CommandError(f"{file} is no JSON: {error}", exit_code=Exit.USAGE) from None
    found: dict[str, Any] = document
    return found


def _logs(settings: Settings, given: tuple[Path, ...]) -> list[Path]:
    folders = [settings.usage_archive, settings.usage_log.parent]
    return list(given) or [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _as_json(outcome: "Outcome") -> dict[str, Any]:
    from farebox.invoices.rating import plain

    return {
        "periods": [
            {
                "start": each.period.start,
                "end": each.period.end,
                "quantities": dict(each.quantities),
                "lines": [
                    {
                        "code": line.code,
                        "kind": line.kind,
                        "quantity": plain(line.quantity),
                        "amount": _money(line.amount),
                    }
                    for line in each.lines
                ],
                "total": _money(each.total),
            }
            for each in outcome.facts.periods
        ],
        "total": _money(outcome.total),
        "invoiced": [_money(amount) for amount, _ in outcome.facts.invoiced],
        "requests": {"metered": outcome.facts.metered_requests, "found_in_logs": outcome.requests_found},
        "refused": None
        if outcome.refusals is None
        else {
            "requests": outcome.refusals.refused,
            "by_limit": dict(outcome.refusals.by_limit),
            "overage_units": outcome.refusals.overage_units,
        },
    }


def _money(amount: Any) -> dict[str, Any]:
    return {"currency": amount.currency, "minor": amount.minor}


def _tables(outcome: "Outcome") -> list[Table]:
    from farebox.invoices.rating import plain

    rows: list[Sequence[object]] = []
    for each in outcome.facts.periods:
        stretch = f"{each.period.start:%Y-%m-%d} to {each.period.end:%Y-%m-%d}"
        rows += [(stretch, line.description, plain(line.quantity), str(line.amount)) for line in each.lines]
        rows.append((stretch, "total", None, str(each.total)))
    invoiced = (
        ", ".join(f"{amount} on {count} invoices" for amount, count in outcome.facts.invoiced) or "nothing"
    )
    tables = [
        Table(
            ("period", "line", "quantity", "amount"),
            rows,
            note=f"In all {outcome.total} before coupons, tax and credits. Invoiced then: {invoiced}.",
        )
    ]
    if outcome.refusals is not None:
        found = outcome.refusals
        metered = outcome.facts.metered_requests
        covered = f"{outcome.requests_found:,} of {metered:,} metered requests were found in the raw lines"
        tables.append(
            Table(
                ("limit", "would have refused"),
                [*found.by_limit.items(), ("in all", found.refused)],
                title="",
                note=f"{covered}. Units beyond a soft quota: {found.overage_units:,}.",
            )
        )
    return tables
