"""`farebox subscription`: what operators do to one organization's subscription, as the worker's role."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError
from farebox_cli.output import Table, emit, json_option
from farebox_cli.worker_database import in_one_transaction, organization_id

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.subscriptions.acts import Action
    from farebox.subscriptions.fields import SubscriptionView

pass_settings = click.make_pass_decorator(Settings)
_ACTOR: Final = "operator farebox command"
_organization = click.argument("organization")
_reason = click.option("--reason", required=True, help="Why; kept in the history and told to mails.")


@click.group
def subscription() -> None:
    """An organization's subscription: its plan, its state, what is scheduled."""


@subscription.command("show")
@_organization
@json_option
@pass_settings
def show(settings: Settings, *, organization: str, as_json: bool) -> None:
    """Show the subscription of ORGANIZATION (org_…) after everything that came due."""
    _run(settings, organization, None, as_json=as_json)


@subscription.command("change")
@_organization
@click.argument("plan")
@click.option(
    "--when", type=click.Choice(["now", "period_end"]), help="Left out: a cheaper plan at the period's end."
)
@json_option
@pass_settings
def change(
    settings: Settings,
    *,
    organization: str,
    plan: str,
    when: Literal["now", "period_end"] | None,
    as_json: bool,
) -> None:
    """Change ORGANIZATION (org_…) to the newest version of PLAN, hidden plans too."""

    async def act(session: "AsyncSession", found: "UUID") -> None:
        from farebox.plans import service as plans
        from farebox.subscriptions import wishes

        offer = await plans.offer(session, plan, everything=True)
        await wishes.change(session, found, offer, wall=datetime.now(UTC), actor=_ACTOR, when=when)

    _run(settings, organization, act, as_json=as_json)


@subscription.command("cancel")
@_organization
@click.option("--now", "at_once", is_flag=True, help="Not at the period's end.")
@click.option("--undo", is_flag=True, help="Take a cancellation back.")
@_reason
@json_option
@pass_settings
def cancel(
    settings: Settings, *, organization: str, at_once: bool, undo: bool, reason: str, as_json: bool
) -> None:
    """End the subscription of ORGANIZATION (org_…); the free plan follows."""
    if at_once and undo:
        raise click.UsageError("Say either --now or --undo.")
    action: Action = "undo_cancel" if undo else "cancel_now" if at_once else "cancel"
    _run(settings, organization, _acting(action, reason), as_json=as_json)


def _command(name: "Action", summary: str) -> None:
    @subscription.command(name, help=summary)
    @_organization
    @_reason
    @json_option
    @pass_settings
    def command(settings: Settings, *, organization: str, reason: str, as_json: bool) -> None:
        _run(settings, organization, _acting(name, reason), as_json=as_json)


_command("pause", "Have the gateways refuse ORGANIZATION (org_…); periods that begin meanwhile owe nothing.")
_command("resume", "Serve ORGANIZATION (org_…) again after a pause.")
_command("suspend", "Have the gateways refuse ORGANIZATION (org_…); it goes on owing.")
_command("reinstate", "Lift a suspension of ORGANIZATION (org_…), or that it is past due.")
_command("reactivate", "Take up the last plan that ORGANIZATION (org_…) had before the free one.")


def _acting(action: "Action", reason: str) -> "Callable[[AsyncSession, UUID], Awaitable[None]]":
    async def act(session: "AsyncSession", found: "UUID") -> None:
        from farebox.subscriptions import acts

        await acts.act(session, found, action, wall=datetime.now(UTC), cause=reason, actor=_ACTOR)

    return act


def _run(
    settings: Settings,
    organization: str,
    act: "Callable[[AsyncSession, UUID], Awaitable[None]] | None",
    *,
    as_json: bool,
) -> None:
    """Act on the organization, then show its subscription. Refusals become one line."""

    async def work(session: "AsyncSession") -> "SubscriptionView":
        from farebox.subscriptions import fields

        found = await organization_id(session, organization)
        if act is not None:
            await act(session, found)
        return await fields.show(session, found, wall=datetime.now(UTC))

    from farebox.problems import Refusal

    try:
        view = in_one_transaction(settings, work)
    except Refusal as refusal:
        raise CommandError(refusal.message) from None
    shown = {
        "subscription": view.id,
        "plan": f"{view.plan.code}-{view.plan.version}",
        "state": view.state,
        "period_start": view.period_start.isoformat(timespec="seconds"),
        "period_end": view.period_end.isoformat(timespec="seconds"),
        "time_zone": view.time_zone,
        "trial_ends_at": view.trial_ends_at,
        "cancel_at": view.cancel_at,
        "next_plan": view.next_plan and f"{view.next_plan.code}-{view.next_plan.version}",
        "resume_at": view.resume_at,
    }
    rows = [[name, value] for name, value in shown.items() if value is not None]
    emit(view, as_json=as_json, tables=Table(["what", "is"], rows))
