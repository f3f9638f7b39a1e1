"""`farebox payment`, `farebox webhook`, `farebox reconcile`: money that arrives, as operators look after it.

Works as the worker's role. What is charged here is charged like everywhere else: the row first, then the
provider, then the record; a command that is killed in between is finished by the worker.
"""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.errors import CommandError
from farebox_cli.output import Table, emit, json_option
from farebox_cli.worker_database import in_one_transaction, organization_id, worker_database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncSession

    from farebox.payments.accounts import Till

T = TypeVar("T")
pass_settings = click.make_pass_decorator(Settings)
limit_option = click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
_ACTOR: Final = "operator command"
_PAYMENTS: Final = """
    SELECT p.id, o.public_id, p.state, p.amount_minor, p.refunded_minor, p.currency, p.provider,
           p.provider_id, p.charge_id, p.invoice_id, p.flow, p.failure_code, p.failure_reason, p.parked,
           p.actor, p.created_at
    FROM payments p JOIN organizations o ON o.id = p.organization_id
    WHERE (CAST(:organization AS uuid) IS NULL OR p.organization_id = :organization)
      AND (CAST(:id AS uuid) IS NULL OR p.id = :id) AND (NOT :parked OR p.parked IS NOT NULL)
    ORDER BY p.created_at DESC, p.id DESC LIMIT :limit
"""
_EVENTS: Final = """
    SELECT provider, event_id, kind, state, attempts, error, received_at, done_at FROM webhook_events
    WHERE CAST(:state AS text) IS NULL OR state = :state ORDER BY received_at DESC, id DESC LIMIT :limit
"""


@click.group
def payment() -> None:
    """Payments: what was charged, refunded and recorded."""


@payment.command("list")
@click.option("--organization", help="org_…; left out: all.")
@click.option("--parked", is_flag=True, help="Only those that wait for a person.")
@limit_option
@json_option
@pass_settings
def list_payments(
    settings: Settings, *, organization: str | None, parked: bool, limit: int, as_json: bool
) -> None:
    """List payments, the newest first."""
    rows = _payments(settings, organization=organization, parked=parked, limit=limit)
    columns = ["id", "organization", "amount", "refunded", "state", "provider", "reason", "created_at"]
    table = Table(columns, [[each[column] for column in columns] for each in rows])
    emit(rows, as_json=as_json, tables=table)


@payment.command("show")
@click.argument("payment_id")
@json_option
@pass_settings
def show(settings: Settings, *, payment_id: str, as_json: bool) -> None:
    """Show PAYMENT_ID (pay_…) with everything that is known of it."""
    rows = _payments(settings, payment_id=payment_id, limit=1)
    if not rows:
        raise CommandError(f"There is no payment {payment_id}.")
    found = rows[0]
    emit(found, as_json=as_json, tables=Table(["what", "value"], [[name, found[name]] for name in found]))


@payment.command("collect")
@click.argument("invoice_id")
@json_option
@pass_settings
def collect(settings: Settings, *, invoice_id: str, as_json: bool) -> None:
    """Charge what is open of INVOICE_ID (inv_…) to its organization's saved card."""

    async def act(till: "Till") -> dict[str, Any]:
        from farebox.payments import service

        invoice = _read("inv", invoice_id)
        async with till.database.transaction() as session:
            organization = await _owner(session, "invoices", invoice, invoice_id)
        row = await service.collect(till, organization, invoice, actor=_ACTOR)
        return {"payment": _public("pay", row.id), "state": row.state, "reason": row.failure_reason}

    _done(_with_till(settings, act), as_json=as_json)


@payment.command("refund")
@click.argument("payment_id")
@click.option("--amount", help="In major units; left out: all that is left.")
@click.option("--reason", required=True, help="Why; it stays on the refund.")
@click.option("--after-credit-note", is_flag=True, help="The invoice does not ask for the amount again.")
@json_option
@pass_settings
def refund(
    settings: Settings,
    *,
    payment_id: str,
    amount: str | None,
    reason: str,
    after_credit_note: bool,
    as_json: bool,
) -> None:
    """Give PAYMENT_ID (pay_…) back, or a part of it."""

    async def act(till: "Till") -> dict[str, Any]:
        from farebox.payments import service
        from farebox.payments.fields import read_amount
        from farebox.payments.model import Payment

        payment = _read("pay", payment_id)
        async with till.database.transaction() as session:
            found = await session.get(Payment, payment)
        if found is None:
            raise CommandError(f"There is no payment {payment_id}.")
        row = await service.refund(
            till,
            found.organization_id,
            payment,
            amount=None if amount is None else read_amount(amount, found.currency),
            reason=reason,
            reopens=not after_credit_note,
            actor=_ACTOR,
        )
        return {"refund": _public("rfd", row.id), "state": row.state, "reason": row.failure_reason}

    _done(_with_till(settings, act), as_json=as_json)


@payment.command("record")
@click.argument("organization")
@click.argument("amount")
@click.option("--reference", required=True, help="The bank's reference; each is recorded once.")
@click.option("--invoice", "invoice_id", help="inv_…; left out: the oldest open ones.")
@click.option("--note", help="For people.")
@json_option
@pass_settings
def record(
    settings: Settings,
    *,
    organization: str,
    amount: str,
    reference: str,
    invoice_id: str | None,
    note: str | None,
    as_json: bool,
) -> None:
    """Record AMOUNT that ORGANIZATION (org_…) paid by bank transfer."""

    async def act(till: "Till") -> dict[str, Any]:
        from farebox.payments import accounts, service
        from farebox.payments.fields import read_amount

        async with till.database.transaction() as session:
            owner = await organization_id(session, organization)
            payer = await accounts.payer(session, owner)
        row = await service.record_manual(
            till,
            owner,
            read_amount(amount, payer.currency),
            reference=reference,
            invoice_id=None if invoice_id is None else _read("inv", invoice_id),
            note=note,
            actor=_ACTOR,
        )
        return {"payment": _public("pay", row.id), "state": row.state, "reason": None}

    _done(_with_till(settings, act), as_json=as_json)


@click.group
def webhook() -> None:
    """The inbox of what payment providers reported."""


@webhook.command("list")
@click.option("--state", type=click.Choice(["received", "done", "ignored", "parked"]))
@limit_option
@json_option
@pass_settings
def list_events(settings: Settings, *, state: str | None, limit: int, as_json: bool) -> None:
    """List events, the newest first."""
    rows = _rows(settings, _EVENTS, state=state, limit=limit)
    columns = ["provider", "event_id", "kind", "state", "attempts", "error", "received_at"]
    table = Table(columns, [[each[column] for column in columns] for each in rows])
    emit(rows, as_json=as_json, tables=table)


@webhook.command("replay")
@click.argument("event_id")
@click.option("--provider", type=click.Choice(["stripe", "paystack"]), default="stripe", show_default=True)
@pass_settings
def replay(settings: Settings, *, event_id: str, provider: str) -> None:
    """Have EVENT_ID handled once more, by the worker. What it did before is not done twice."""

    async def act(till: "Till") -> bool:
        from farebox_worker.payments import inbox

        return await inbox.replay(till, provider, event_id)

    if not _with_till(settings, act):
        raise CommandError(f"There is no event {event_id} of {provider}.")
    click.echo(f"{event_id} will be handled again.")


@click.command
@click.option("--day", help="A day in UTC, such as 2026-11-20. Left out: yesterday.")
@json_option
@pass_settings
def reconcile(settings: Settings, *, day: str | None, as_json: bool) -> None:
    """Compare a day with each provider's own lists, and repair what is safe."""

    async def act(till: "Till") -> list[Any]:
        from farebox_worker.payments import reconciliation

        try:
            yesterday = datetime.now(UTC) - reconciliation.DAY
            start, end = reconciliation.day(day or yesterday.date().isoformat())
        except ValueError as error:
            raise click.BadParameter("write it as 2026-11-20", param_hint="--day") from error
        providers = till.providers.switched_on
        if not providers:
            raise CommandError("No payment provider is set up; set FAREBOX_STRIPE_SECRET_KEY.")
        return [await reconciliation.reconcile(till, each, start, end) for each in providers]

    reports = _with_till(settings, act)
    tables = [
        Table(
            ["kind", "name", "fault", "ours", "theirs", "done"],
            [list(each.values()) for each in report.differences],
            title=f"{report.provider}, {report.start:%Y-%m-%d}",
            note=f"{report.compared} compared, {report.repaired} repaired, {report.parked} for a person.",
        )
        for report in reports
    ]
    emit(reports, as_json=as_json, tables=tables)


def _done(result: dict[str, Any], *, as_json: bool) -> None:
    emit(result, as_json=as_json, tables=Table(list(result), [list(result.values())]))
    if result["state"] == "failed":
        raise CommandError(f"It was refused: {result['reason']}")
    if result["state"] == "created":
        raise CommandError(
            "The provider did not answer; the worker finishes it within minutes. Do not repeat it."
        )


def _with_till(settings: Settings, act: "Callable[[Till], Awaitable[T]]") -> T:
    async def inside() -> T:
        import farebox.tables  # noqa: F401 - rows that are written must know every table they point to
        from farebox.clock import SystemClock
        from farebox.payments import providers
        from farebox.payments.accounts import Till

        async with worker_database(settings) as database, providers.opened(settings) as opened:
            return await act(Till(database, opened, SystemClock(), settings.public_url))

    return asyncio.run(inside())


def _rows(settings: Settings, query: str, **values: Any) -> list[dict[str, Any]]:
    async def act(session: "AsyncSession") -> list[dict[str, Any]]:
        from sqlalchemy import text

        return [dict(row) for row in (await session.execute(text(query), values)).mappings()]

    return in_one_transaction(settings, act)


def _payments(
    settings: Settings,
    *,
    limit: int,
    organization: str | None = None,
    payment_id: str | None = None,
    parked: bool = False,
) -> list[dict[str, Any]]:
    async def owner(session: "AsyncSession") -> "UUID":
        return await organization_id(session, organization or "")

    from farebox.money import Money

    rows = _rows(
        settings,
        _PAYMENTS,
        organization=None if organization is None else in_one_transaction(settings, owner),
        id=None if payment_id is None else _read("pay", payment_id),
        parked=parked,
        limit=limit,
    )
    return [
        {
            "id": _public("pay", row["id"]),
            "organization": f"org_{row['public_id']}",
            "amount": str(Money(row["currency"], row["amount_minor"])),
            "refunded": str(Money(row["currency"], row["refunded_minor"])),
            "state": row["state"],
            "provider": row["provider"],
            "provider_id": row["provider_id"],
            "charge": row["charge_id"],
            "invoice": None if row["invoice_id"] is None else _public("inv", row["invoice_id"]),
            "flow": row["flow"],
            "code": row["failure_code"],
            "reason": row["parked"] or row["failure_reason"],
            "actor": row["actor"],
            "created_at": row["created_at"],
        }
        for row in rows
    ]


async def _owner(session: "AsyncSession", table: str, row_id: "UUID", name: str) -> "UUID":
    from sqlalchemy import select

    from farebox.db import Base

    columns = Base.metadata.tables[table].columns
    found: UUID | None = await session.scalar(select(columns.organization_id).where(columns.id == row_id))
    if found is None:
        raise CommandError(f"There is no {name}.")
    return found


def _read(prefix: str, text: str) -> "UUID":
    from farebox import ids

    try:
        return ids.decode(prefix, text)
    except ids.MalformedIdError as error:
        raise click.BadParameter(str(error)) from None


def _public(prefix: str, value: "UUID") -> str:
    from farebox import ids

    return ids.encode(prefix, value)
