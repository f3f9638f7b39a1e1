"""`farebox tax`: the tax rates that operators keep."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import click

from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction, read_instant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.settings import Settings
    from farebox.taxes.deciding import Rate


@click.group("tax")
def tax() -> None:
    """Tax rates by country and region, each from a date on."""


@tax.command("list")
@click.option("--at", "moment", metavar="TIME", help="Those in force then. Default: all there ever were.")
@json_option
@click.pass_obj
def list_(settings: "Settings", *, moment: str | None, as_json: bool) -> None:
    """List the rates."""
    from farebox.taxes import service
    from farebox.taxes.deciding import in_force

    async def work(session: "AsyncSession") -> "list[Rate]":
        return await service.rates(session)

    rates = in_one_transaction(settings, work)
    if moment is not None:
        rates = in_force(rates, read_instant(moment, option="--at"))
    rows = [
        (
            each.country,
            each.region or None,
            each.name,
            "ended" if each.rate is None else f"{each.rate.normalize():f} %",
            "inclusive" if each.inclusive else "exclusive",
            each.valid_from.date(),
        )
        for each in rates
    ]
    emit(rates, as_json=as_json, tables=Table(("country", "region", "tax", "rate", "prices", "from"), rows))


@tax.command("set")
@click.argument("country")
@click.argument("name")
@click.argument("rate")
@click.option("--region", default="", help="Its code, such as QC: stands instead of the country's rates.")
@click.option("--inclusive", is_flag=True, help="Prices hold the tax already.")
@click.option("--from", "moment", metavar="TIME", help="From when on (RFC 3339). Default: for all time.")
@click.pass_obj
def set_(
    settings: "Settings",
    *,
    country: str,
    name: str,
    rate: str,
    region: str,
    inclusive: bool,
    moment: str | None,
) -> None:
    """Have the tax NAME of COUNTRY (such as DE) be RATE per cent, or `none`. Issued invoices never change."""
    from farebox.taxes import service
    from farebox.taxes.deciding import Rate

    if len(country) != 2 or not country.isascii() or not country.isalpha():
        raise CommandError("COUNTRY: expected a code of ISO 3166-1, such as DE", exit_code=Exit.USAGE)
    try:
        percent = None if rate == "none" else Decimal(rate)
    except InvalidOperation:
        percent = Decimal("NaN")
    if percent is not None and (not percent.is_finite() or not 0 <= percent <= 100):
        raise CommandError("RATE: expected per cent from 0 to 100, or none", exit_code=Exit.USAGE)
    since = datetime(1970, 1, 1, tzinfo=UTC) if moment is None else read_instant(moment, option="--from")
    made = Rate(country.upper(), region.upper(), name, percent, inclusive, since)

    async def work(session: "AsyncSession") -> None:
        await service.set_rate(session, made)

    in_one_transaction(settings, work)
    say(f"{name} in {country.upper()} {region.upper()}: {rate} from {since.date()} on.")
