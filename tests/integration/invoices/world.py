"""Organizations, usage and nodes, put straight into the database: billing is tested without a gateway."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from farebox import ids
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.settings import Settings
from farebox.subscriptions.periods import period_containing
from farebox_contract.keys import public_id
from farebox_worker import billing

_DIMENSION = text(
    "INSERT INTO usage_dimensions (organization_id, subscription_id, org, sub, key, plan_group, route, "
    "environment, outcome, status) VALUES (:organization, :subscription, :org, :sub, 'k', 'g', 'messages', "
    ":environment, :outcome, :status) "
    "ON CONFLICT ON CONSTRAINT uq_usage_dimensions DO UPDATE SET status = excluded.status RETURNING id"
)
_ROLLUP = text(
    "INSERT INTO usage_rollups AS r (dimension_id, bucket, organization_id, requests, units, bytes_in, "
    "bytes_out, microseconds) VALUES (:dimension, :bucket, :organization, :requests, :units, 0, 0, 0) "
    "ON CONFLICT (dimension_id, bucket) DO UPDATE SET requests = r.requests + excluded.requests, "
    "units = r.units + excluded.units"
)


def at(instant: str) -> datetime:
    """Read an instant; UTC unless it says otherwise."""
    moment = datetime.fromisoformat(instant)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Customer:
    """An organization with its first subscription."""

    id: UUID
    public_id: str
    subscription_id: UUID
    subscription: str


@dataclass(slots=True)
class World:
    """The database as the worker's role sees it, and a clock that the test sets."""

    database: Database
    clock: ManualClock
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))

    async def run(self, *, until: datetime | None = None, batch: int = 500) -> billing.BillingReport:
        """Run billing at the clock's time."""
        return await billing.run(self.database, self.settings, self.clock, until=until, batch=batch)

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        async with self.database.transaction() as session:
            connection = await session.connection()
            result = await connection.execute(text(query), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    async def customer(
        self, plan: str = "starter-1", *, since: str = "2026-11-01", zone: str = "UTC", anchor: int = 1
    ) -> Customer:
        """Add an organization whose subscription to the plan version began at `since`."""
        made = Customer(ids.uuid7(), public_id(), ids.uuid7(), public_id())
        begins = at(since)
        await self.rows(
            "INSERT INTO organizations (id, public_id, name, time_zone) "
            "VALUES (:id, :public_id, :name, :zone)",
            id=made.id, public_id=made.public_id, name=f"Customer {made.public_id}", zone=zone,
        )  # fmt: skip
        await self.rows(
            "INSERT INTO subscriptions (id, organization_id, public_id, plan_version_id, time_zone, "
            "anchor_day, started_at) SELECT :id, :organization, :public_id, id, :zone, :anchor, :begins "
            "FROM plan_versions WHERE code = :plan",
            id=made.subscription_id, organization=made.id, public_id=made.subscription, zone=zone,
            anchor=anchor, begins=begins, plan=plan,
        )  # fmt: skip
        await self.rows(
            "INSERT INTO billing_periods (id, organization_id, subscription_id, starts_at, ends_at, "
            "is_first) VALUES (:id, :organization, :subscription, :begins, :ends, true)",
            id=ids.uuid7(), organization=made.id, subscription=made.subscription_id, begins=begins,
            ends=period_containing(begins, time_zone=zone, anchor_day=anchor).end,
        )  # fmt: skip
        return made

    async def use(
        self,
        customer: Customer,
        when: str,
        units: int,
        *,
        outcome: str = "served",
        status: int = 200,
        environment: str = "live",
        subscription: tuple[UUID, str] | None = None,
    ) -> None:
        """Count usage of one quarter hour; a unit is a request. `when` is in the organization's time."""
        subscription_id, name = subscription or (customer.subscription_id, customer.subscription)
        [dimension] = await self.rows(
            str(_DIMENSION), organization=customer.id, subscription=subscription_id, org=customer.public_id,
            sub=name, environment=environment, outcome=outcome, status=status,
        )  # fmt: skip
        bucket = int(at(when).timestamp()) // 900 * 900
        await self.rows(
            str(_ROLLUP), dimension=dimension["id"], bucket=bucket, organization=customer.id,
            requests=units, units=units,
        )  # fmt: skip
        await self.rows(
            "SELECT farebox_touch_periods(ARRAY[CAST(:dimension AS bigint)], ARRAY[CAST(:bucket AS bigint)], "
            "ARRAY[CAST(:bucket AS bigint)])",
            dimension=dimension["id"], bucket=bucket,
        )  # fmt: skip

    async def node(self, code: str = "gw-1", *, read_to: str | None = None) -> None:
        """Register a node, or report how far it was read (None: it never stood at the end)."""
        await self.rows(
            "INSERT INTO nodes (code, read_to_end_at) VALUES (:code, :read_to) "
            "ON CONFLICT (code) DO UPDATE SET read_to_end_at = excluded.read_to_end_at",
            code=code, read_to=None if read_to is None else at(read_to),
        )  # fmt: skip

    async def plan(self, code: str, charges: list[Any], *, currency: str = "USD") -> None:
        """Publish a plan of its own with these charges."""
        plan_id, name = ids.uuid7(), code.rpartition("-")[0]
        await self.rows(
            "INSERT INTO plans (id, code, name) VALUES (:id, :name, :name)", id=plan_id, name=name
        )
        await self.rows(
            "INSERT INTO plan_versions (id, plan_id, version, code, state, currency, charges, limits, "
            "published_at) VALUES (:id, :plan, 1, :code, 'published', :currency, CAST(:charges AS jsonb), "
            "'[]', now())",
            id=ids.uuid7(), plan=plan_id, code=code, currency=currency, charges=json.dumps(charges),
        )  # fmt: skip

    async def invoices(self, customer: Customer | None = None) -> list[dict[str, Any]]:
        """Return invoices with their lines, in the order of their numbers."""
        return await self.rows(
            "SELECT i.*, (SELECT jsonb_agg(jsonb_build_object('kind', l.kind, 'code', l.charge_code, "
            "'quantity', l.quantity, 'minor', l.amount_minor, 'description', l.description, "
            "'detail', l.detail) ORDER BY l.position) FROM invoice_lines l WHERE l.invoice_id = i.id) "
            "AS lines FROM invoices i "
            "WHERE CAST(:organization AS uuid) IS NULL OR organization_id = :organization "
            "ORDER BY i.number, i.id",
            organization=None if customer is None else customer.id,
        )  # fmt: skip

    async def everything(self) -> Mapping[str, list[dict[str, Any]]]:
        """Return all that billing writes, to be compared."""
        tables = (
            "invoices",
            "invoice_lines",
            "invoice_numbers",
            "billing_periods",
            "usage_statements",
            "outbox",
            "invoice_taxes",
            "period_tallies",
            "credit_grants",
            "credit_entries",
            "coupon_redemptions",
        )
        return {table: await self.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables}


def brief(invoice: Mapping[str, Any]) -> list[tuple[str, str, float, int]]:
    """Return an invoice's lines as (kind, code, quantity, minor)."""
    return [(line["kind"], line["code"], line["quantity"], line["minor"]) for line in invoice["lines"]]
