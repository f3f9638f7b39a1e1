"""`farebox coupon`: the coupons that operators offer, and redeeming one for an organization."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction, organization_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.coupons.views import CouponsView

pass_settings = click.make_pass_decorator(Settings)


@click.group
def coupon() -> None:
    """Coupons: a percentage or an amount off, for one period, some, or for ever."""


@coupon.command("offer")
@click.argument("code")
@click.option("--name", required=True, help="The text of the invoice's line.")
@click.option("--percent", help="Per cent off, such as 12.5.")
@click.option("--amount-minor", type=int, help="Minor units (cents) off.")
@click.option("--currency", help="Of the amount.")
@click.option("--periods", type=int, help="Left out: for ever.")
@click.option("--plan", "plans", multiple=True, help="Only for this plan; may be given again.")
@click.option("--max-redemptions", type=int)
@click.option("--redeem-by", metavar="TIME", help="RFC 3339.")
@pass_settings
def offer(settings: Settings, /, *, plans: tuple[str, ...], **options: Any) -> None:
    """Offer a coupon with CODE."""
    from pydantic import ValidationError

    from farebox.coupons import views

    wanted = {name: value for name, value in options.items() if value is not None}
    try:
        document = views.CouponInput.model_validate(wanted | ({"plans": list(plans)} if plans else {}))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        said = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'coupon'}: {item['msg']}" for item in found)
        raise CommandError(said, exit_code=Exit.USAGE) from None

    async def act(session: "AsyncSession") -> None:
        await views.put_on_offer(session, document)

    _act(settings, act)
    say(f"{document.code} is on offer.")


@coupon.command("list")
@json_option
@pass_settings
def list_coupons(settings: Settings, *, as_json: bool) -> None:
    """List every coupon, withdrawn ones too."""

    async def act(session: "AsyncSession") -> "CouponsView":
        from farebox.coupons import views

        return await views.every(session)

    found = in_one_transaction(settings, act).items
    rows = [
        [
            each.code,
            each.state,
            f"{each.percent} %" if each.amount is None else f"{each.amount.currency} {each.amount.decimal}",
            each.periods,
            ", ".join(each.plans or ()),
            f"{each.redeemed} of {each.max_redemptions}" if each.max_redemptions else each.redeemed,
            each.redeem_by,
        ]
        for each in found
    ]
    columns = ("code", "state", "off", "periods", "plans", "redeemed", "until")
    emit([each.model_dump(mode="json") for each in found], as_json=as_json, tables=Table(columns, rows))


@coupon.command("withdraw")
@click.argument("code")
@pass_settings
def withdraw(settings: Settings, *, code: str) -> None:
    """Have nobody redeem CODE any more; who has it keeps it."""

    async def act(session: "AsyncSession") -> None:
        from farebox.coupons import service

        await service.withdraw(session, code)

    _act(settings, act)
    say(f"{code} is withdrawn.")


@coupon.command("redeem")
@click.argument("organization")
@click.argument("code")
@pass_settings
def redeem(settings: Settings, *, organization: str, code: str) -> None:
    """Redeem CODE for ORGANIZATION (org_…)."""

    async def act(session: "AsyncSession") -> None:
        from farebox.coupons import service
        from farebox.organizations import test_clock

        found = await organization_id(session, organization)
        now = (await test_clock.time_of(session, found)).at(datetime.now(UTC))
        await service.redeem(session, found, code, at=now)

    _act(settings, act)
    say(f"{organization} has {code}.")


def _act(settings: Settings, act: "Callable[[AsyncSession], Awaitable[None]]") -> None:
    from farebox.problems import Refusal

    try:
        in_one_transaction(settings, act)
    except Refusal as refusal:
        fields = "; ".join(
            f"{each['field']}: {each['problem']}" for each in refusal.details.get("fields", ())
        )
        raise CommandError(fields or refusal.message) from None
