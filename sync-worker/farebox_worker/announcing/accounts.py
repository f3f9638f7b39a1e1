"""Letters about subscriptions, keys and usage."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from babel.numbers import format_currency, format_decimal
from sqlalchemy import text

from farebox import ids
from farebox.money import Money
from farebox.notifications.letters import language_for
from farebox_worker.announcing.links import invoice_page
from farebox_worker.announcing.money import amount
from farebox_worker.announcing.people import Audience, audience, write_to
from farebox_worker.announcing.telling import Telling

_SUBSCRIPTION: Final = text(
    """
    SELECT s.id, s.cancel_at, s.trial_ends_at, p.name AS plan, v.currency
    FROM subscriptions s JOIN plan_versions v ON v.id = s.plan_version_id JOIN plans p ON p.id = v.plan_id
    WHERE s.public_id = :subscription
    """
)
_OLDEST_DEBT: Final = text(
    """
    SELECT id, number, currency, open_minor FROM invoices
    WHERE organization_id = :organization AND open_minor > 0 AND state IN ('finalized', 'overdue')
    ORDER BY due_at, number LIMIT 1
    """
)
_KEY: Final = text(
    """
    SELECT k.name, k.hint, k.environment, k.created_at, k.revoked_at, k.leak_source, u.email AS creator
    FROM api_keys k JOIN users u ON u.id = k.created_by
    WHERE k.public_id = :key AND k.organization_id = :organization
    """
)


async def subscription_changed(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Tell of a cancellation, of a suspension for an unpaid invoice, and of its end; of nothing else."""
    transition = payload["transition"]
    if transition not in {"cancel", "suspend", "reinstate"}:
        return
    public_id = str(payload["subscription"]).removeprefix("sub_")
    row = (await telling.session.execute(_SUBSCRIPTION, {"subscription": public_id})).one()
    people = await audience(telling.session, organization_id)
    if transition == "cancel":
        if row.cancel_at is None:
            return
        context = {"plan": row.plan, "ends_at": row.cancel_at.isoformat()}
        await _tell(telling, organization_id, people, "cancelled", context)
    elif transition == "suspend":
        await _suspended(telling, organization_id, people)
    elif payload.get("from") == "suspended":
        await _tell(telling, organization_id, people, "reinstated", {})


async def trial_ending(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Remind that a trial ends, unless it has ended or was cancelled meanwhile."""
    public_id = str(payload["subscription"]).removeprefix("sub_")
    row = (await telling.session.execute(_SUBSCRIPTION, {"subscription": public_id})).one()
    if row.trial_ends_at is None or row.cancel_at is not None:
        return
    people = await audience(telling.session, organization_id)
    context = {"plan": row.plan, "ends_at": row.trial_ends_at.isoformat()}
    await _tell(telling, organization_id, people, "trial_ending", context)


async def key_created(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Tell the owners and whoever issued it."""
    row, people = await _key(telling, organization_id, payload)
    await write_to(
        telling.session,
        organization_id,
        (*people.owners, row.creator),
        "key_created",
        {
            "organization": people.organization,
            "key_name": row.name,
            "hint": row.hint,
            "environment": row.environment,
            "creator": row.creator,
            "created_at": row.created_at.isoformat(),
        },
        language=people.language,
    )


async def key_leaked(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Tell the owners and whoever issued it."""
    row, people = await _key(telling, organization_id, payload)
    await write_to(
        telling.session,
        organization_id,
        (*people.owners, row.creator),
        "key_leaked",
        {
            "organization": people.organization,
            "key_name": row.name,
            "hint": row.hint,
            "source": row.leak_source,
            "revoked_at": (row.revoked_at or telling.now).isoformat(),
        },
        language=people.language,
    )


async def usage_threshold(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> None:
    """Tell how far usage has come to a threshold that the customer set."""
    people = await audience(telling.session, organization_id)
    locale = language_for(people.language)
    kind, value = payload["threshold"]["kind"], payload["threshold"]["value"]
    is_amount = kind != "quota_percent"
    currency = payload.get("currency", "USD")

    def shown(number: int) -> str:
        if is_amount:
            return format_currency(Money(currency, number).decimal, currency, locale=locale)
        return format_decimal(number, locale=locale)

    threshold = shown(value) if kind == "amount" else f"{value} %"
    context = {
        "threshold": threshold,
        "period_start": payload["period_start"],
        "used": shown(payload["used"]),
        "of": shown(payload["of"]),
    }
    await _tell(telling, organization_id, people, "usage_threshold", context)


async def _suspended(telling: Telling, organization_id: UUID, people: Audience) -> None:
    debt = (await telling.session.execute(_OLDEST_DEBT, {"organization": organization_id})).one_or_none()
    if debt is None:
        return  # not for money: whoever suspended the account tells why
    context = {
        "number": debt.number,
        "open": amount(debt.currency, debt.open_minor),
        "pay_url": invoice_page(telling.settings, ids.encode("inv", debt.id), now=telling.now),
    }
    await _tell(telling, organization_id, people, "suspended", context)


async def _tell(
    telling: Telling, organization_id: UUID, people: Audience, letter: str, context: dict[str, Any]
) -> None:
    whole = {"organization": people.organization, **context}
    await write_to(telling.session, organization_id, people.billing, letter, whole, language=people.language)


async def _key(telling: Telling, organization_id: UUID, payload: Mapping[str, Any]) -> tuple[Any, Audience]:
    values = {"key": payload["key"], "organization": organization_id}
    row = (await telling.session.execute(_KEY, values)).one()
    return row, await audience(telling.session, organization_id)
