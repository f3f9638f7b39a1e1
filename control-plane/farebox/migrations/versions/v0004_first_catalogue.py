"""The plans that every installation begins with (free, starter, pro) and the gateway `default`."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

PLANS: tuple[dict[str, Any], ...] = (
    {
        "code": "free",
        "name": "Free",
        "charges": [
            {"code": "base", "model": "flat", "description": "Free plan", "amount": "0", "prorate": "second"}
        ],
        "limits": [{"name": "minute", "requests": 10, "window": 60}],
        "quota": {"units": 1000, "kind": "hard"},
    },
    {
        "code": "starter",
        "name": "Starter",
        "charges": [
            {
                "code": "base",
                "model": "flat",
                "description": "Starter plan",
                "amount": "10.00",
                "prorate": "second",
            },
            {
                "code": "requests",
                "model": "per_unit",
                "description": "Requests beyond the 10,000 included",
                "included": "10000",
                "unit_price": "0.01",
            },
        ],
        "limits": [{"name": "minute", "requests": 60, "window": 60}],
        "quota": {"units": 10000, "kind": "soft"},
    },
    {
        "code": "pro",
        "name": "Pro",
        "charges": [
            {
                "code": "base",
                "model": "flat",
                "description": "Pro plan",
                "amount": "50.00",
                "prorate": "second",
            }
        ],
        "limits": [{"name": "minute", "requests": 300, "window": 60}],
        "quota": None,
    },
)


def upgrade() -> None:
    connection = op.get_bind()
    for position, plan in enumerate(PLANS, start=1):
        plan_id = f"01900000-0000-7000-8000-00000000000{position}"
        connection.execute(
            sa.text("INSERT INTO plans (id, code, name) VALUES (:id, :code, :name)"),
            {"id": plan_id, "code": plan["code"], "name": plan["name"]},
        )
        connection.execute(
            sa.text(
                "INSERT INTO plan_versions (id, plan_id, version, code, state, currency, charges, limits, quota, published_at) "
                "VALUES (:id, :plan_id, 1, :code, 'published', 'USD', CAST(:charges AS jsonb), CAST(:limits AS jsonb), "
                "CAST(:quota AS jsonb), now())"
            ),
            {
                "id": f"01900000-0000-7000-8000-00000000010{position}",
                "plan_id": plan_id,
                "code": f"{plan['code']}-1",
                "charges": json.dumps(plan["charges"]),
                "limits": json.dumps(plan["limits"]),
                "quota": None if plan["quota"] is None else json.dumps(plan["quota"]),
            },
        )
    connection.execute(
        sa.text("INSERT INTO gateways (id, code) VALUES ('01900000-0000-7000-8000-000000000200', 'default')")
    )
