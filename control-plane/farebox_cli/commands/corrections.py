"""`farebox correction`: entries by which an operator corrects or backfills an organization's usage."""

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from farebox.settings import Settings
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction, organization_id, read_instant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.usage.measuring import Correction

pass_settings = click.make_pass_decorator(Settings)


@click.group
def correction() -> None:
    """Corrections of metered usage."""


@correction.command("add")
@click.argument("organization")
@click.option("--at", required=True, help="RFC 3339: a time in the period, in the organization's own time.")
@click.option("--quantity", required=True, type=int, help="Added to what was metered; negative takes away.")
@click.option("--meter", default="units", show_default=True)
@click.option("--reason", required=True, help="Why; it stands on the invoice.")
@pass_settings
def add(settings: Settings, *, organization: str, at: str, quantity: int, meter: str, reason: str) -> None:
    """Correct the usage of ORGANIZATION (org_…)."""
    moment = read_instant(at, option="--at")

    async def act(session: "AsyncSession") -> "Correction":
        from farebox.usage import corrections

        return await corrections.enter(
            session,
            await organization_id(session, organization),
            at=moment,
            quantity=quantity,
            meter=meter,
            reason=reason,
            actor=_actor(),
            now=datetime.now(UTC),
        )

    entry = in_one_transaction(settings, act)
    say(f"{_id(entry)}: {entry.quantity:+,} {entry.meter} at {entry.at:%Y-%m-%d %H:%M} UTC.")


@correction.command("reverse")
@click.argument("organization")
@click.argument("correction_id")
@click.option("--reason", required=True)
@pass_settings
def reverse(settings: Settings, *, organization: str, correction_id: str, reason: str) -> None:
    """Enter the same quantity with the other sign."""

    async def act(session: "AsyncSession") -> "Correction":
        from farebox import ids
        from farebox.usage import corrections

        try:
            wanted = ids.decode("cor", correction_id)
        except ids.MalformedIdError as error:
            raise click.BadParameter(str(error), param_hint="CORRECTION_ID") from None
        return await corrections.reverse(
            session,
            await organization_id(session, organization),
            wanted,
            reason=reason,
            actor=_actor(),
            now=datetime.now(UTC),
        )

    say(f"{_id(in_one_transaction(settings, act))} reverses {correction_id}.")


@correction.command("list")
@click.argument("organization")
@json_option
@pass_settings
def list_corrections(settings: Settings, *, organization: str, as_json: bool) -> None:
    """List the corrections of ORGANIZATION, newest first."""

    async def act(session: "AsyncSession") -> list["Correction"]:
        from farebox.usage import corrections

        return await corrections.entries(session, await organization_id(session, organization), limit=1000)

    found = in_one_transaction(settings, act)
    rows = [(_id(each), each.at, each.quantity, each.meter, each.reason, each.actor) for each in found]
    emit(found, as_json=as_json, tables=Table(("id", "at", "quantity", "meter", "reason", "by"), rows))


def _id(entry: "Correction") -> str:
    from farebox import ids

    return ids.encode("cor", entry.id)


def _actor() -> str:
    return f"operator at the terminal ({getpass.getuser()})"
