"""`farebox credit`: prepaid and promotional credit of one organization."""

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction, organization_id, read_instant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.credits.views import GrantsView

pass_settings = click.make_pass_decorator(Settings)
_organization = click.argument("organization")


@click.group
def credit() -> None:
    """Credit that pays invoices before anybody is charged."""


@credit.command("grant")
@_organization
@click.argument("minor", type=click.IntRange(1, 10**12))
@click.argument("currency")
@click.option(
    "--kind", type=click.Choice(["prepaid", "promotional"]), default="promotional", show_default=True
)
@click.option("--expires", metavar="TIME", help="RFC 3339, in the organization's own time. Default: never.")
@click.option("--reason", required=True)
@pass_settings
def grant(
    settings: Settings,
    *,
    organization: str,
    minor: int,
    currency: str,
    kind: Literal["prepaid", "promotional"],
    expires: str | None,
    reason: str,
) -> None:
    """Give ORGANIZATION (org_…) credit: MINOR units (cents) of CURRENCY."""
    from farebox.money import MINOR_DIGITS

    if currency not in MINOR_DIGITS:
        known = ", ".join(sorted(MINOR_DIGITS))
        raise CommandError(f"CURRENCY: unknown; known are {known}", exit_code=Exit.USAGE)
    until = None if expires is None else read_instant(expires, option="--expires")

    async def act(session: "AsyncSession") -> None:
        from farebox.credits import service
        from farebox.money import Money
        from farebox.organizations import test_clock

        found = await organization_id(session, organization)
        now = (await test_clock.time_of(session, found)).at(datetime.now(UTC))
        if until is not None and until <= now:
            raise CommandError(f"--expires: it is {now:%Y-%m-%d %H:%M} UTC there; give a later time")
        await service.grant(
            session,
            found,
            kind=kind,
            amount=Money(currency, minor),
            expires_at=until,
            source=f"operator at the terminal ({getpass.getuser()}): {reason}"[:200],
            now=now,
        )

    in_one_transaction(settings, act)
    say(f"{organization} has {minor:,} minor units of {currency} more.")


@credit.command("list")
@_organization
@json_option
@pass_settings
def list_credits(settings: Settings, *, organization: str, as_json: bool) -> None:
    """List what ORGANIZATION (org_…) was granted and what is left."""

    async def act(session: "AsyncSession") -> "GrantsView":
        from farebox.credits import views

        return await views.shown(session, await organization_id(session, organization))

    found = in_one_transaction(settings, act)
    rows = [
        (each.id, each.kind, each.amount.currency, each.amount.decimal, each.remaining.decimal,
         each.expires_at, each.source)
        for each in found.items
    ]  # fmt: skip
    columns = ("id", "kind", "currency", "granted", "left", "expires", "from")
    emit(found.model_dump(mode="json"), as_json=as_json, tables=Table(columns, rows))


@credit.command("expire")
@_organization
@click.argument("credit_id")
@pass_settings
def expire(settings: Settings, *, organization: str, credit_id: str) -> None:
    """Take away what is left of CREDIT_ID (crd_…). What it paid stays paid."""
    from farebox import ids
    from farebox.problems import Refusal

    try:
        wanted = ids.decode("crd", credit_id)
    except ids.MalformedIdError as error:
        raise click.BadParameter(str(error), param_hint="CREDIT_ID") from None

    async def act(session: "AsyncSession") -> int:
        from farebox.credits import service
        from farebox.organizations import test_clock

        found = await organization_id(session, organization)
        now = (await test_clock.time_of(session, found)).at(datetime.now(UTC))
        return await service.write_off(session, found, wanted, now=now)

    try:
        taken = in_one_transaction(settings, act)
    except Refusal as refusal:
        raise CommandError(refusal.message) from None
    say(f"{taken:,} minor units taken away.")
