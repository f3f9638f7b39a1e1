"""The catalogue as operators edit it, and what it does to who is on a plan: nothing until they are moved."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.subscriptions.history import holds, subscriptions
from tests.integration.subscriptions.operators import operator
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.db import Database
from farebox_worker.subscriptions import due

GOLD: dict[str, Any] = {
    "code": "gold",
    "name": "Gold",
    "charges": [{"code": "base", "model": "flat", "description": "Gold", "amount": "99.00"}],
    "limits": [{"name": "minute", "requests": 600, "window": 60}],
    "quota": {"units": 100_000, "kind": "soft"},
    "trial_days": 14,
    "entitlements": {"sso": True, "seats": 5, "support": "email"},
    "meters": [{"code": "big", "aggregation": "sum", "field": "bytes_out", "statuses": ["2xx"]}],
}
VERSION = {name: value for name, value in GOLD.items() if name not in {"code", "name"}}


async def test_a_version_is_drafted_edited_published_and_frozen(api: Api, worker: Database) -> None:
    """A draft is offered to nobody; once published it never changes; the next version stands beside it."""
    root = await operator(api, worker)
    ada = await api.sign_up()
    drafted = (await api.post("/admin/plans", GOLD, by=root)).data
    assert (drafted["version"], drafted["state"], drafted["organizations"]) == ("gold-1", "draft", 0)
    assert (await api.post("/billing/subscription/change", {"plan": "gold"}, by=ada)).code == "unknown_plan"
    edited = await api.call("PUT", "/admin/plan-versions/gold-1", by=root, json={**VERSION, "trial_days": 7})
    assert edited.data["plan"]["trial_days"] == 7
    assert (await api.post("/admin/plan-versions/gold-1/publish", {}, by=root)).data["state"] == "published"
    frozen = await api.call("PUT", "/admin/plan-versions/gold-1", by=root, json=VERSION)
    assert (frozen.status, frozen.code) == (409, "plan_version_frozen")
    assert (await api.call("DELETE", "/admin/plan-versions/gold-1", by=root)).code == "plan_version_frozen"
    [shown] = [plan for plan in (await api.get("/plans")).data["items"] if plan["code"] == "gold"]
    assert shown["entitlements"] == {"seats": 5, "sso": True, "support": "email"}
    assert (await api.post("/admin/plans", GOLD, by=ada)).code == "operators_only"


async def test_a_trial_owes_nothing_and_is_had_once(api: Api, worker: Database, clock: ManualClock) -> None:
    """It is one period; the first owed one begins with its end; a second trial is not given."""
    root, ada = await operator(api, worker), await api.sign_up()
    await api.post("/admin/plans", GOLD, by=root)
    await api.post("/admin/plan-versions/gold-1/publish", {}, by=root)
    shown = (await api.post("/billing/subscription/change", {"plan": "gold"}, by=ada)).data
    assert (shown["state"], shown["period_kind"], shown["period_end"], shown["anchor_day"]) == (
        "trialing",
        "trial",
        "2026-03-24T12:00:00Z",
        24,
    )
    clock.instant = datetime(2026, 3, 25, tzinfo=UTC)
    await due.run(worker, clock)
    ada = await api.log_in(ada.email, ada.organization_id)
    shown = (await api.get("/billing/subscription", by=ada)).data
    assert (shown["state"], shown["period_kind"]) == ("active", "regular")
    assert (shown["period_start"], shown["period_end"]) == ("2026-03-24T12:00:00Z", "2026-04-24T00:00:00Z")
    await api.post("/billing/subscription/cancel", {"when": "now"}, by=ada)
    again = (await api.post("/billing/subscription/change", {"plan": "gold"}, by=ada)).data
    assert (again["state"], again["trial_ends_at"]) == ("active", None)


async def test_a_withdrawn_version_keeps_who_is_on_it(api: Api, worker: Database, clock: ManualClock) -> None:
    """It is offered no more, cannot be deleted under its subscribers, and they go on by it until moved."""
    root, ada = await operator(api, worker), await api.sign_up()
    await api.post("/billing/subscription/change", {"plan": "starter"}, by=ada)
    assert (await api.call("DELETE", "/admin/plans/starter", by=root)).code == "still_in_use"
    assert (await api.post("/admin/plan-versions/free-1/withdraw", {}, by=root)).code == "still_in_use"
    withdrawn = (await api.post("/admin/plan-versions/starter-1/withdraw", {}, by=root)).data
    assert (withdrawn["state"], withdrawn["organizations"]) == ("withdrawn", 1)
    assert (await api.get("/billing/subscription", by=ada)).data["plan"]["code"] == "starter"
    await api.post("/admin/plans", {**GOLD, "code": "starter", "name": "Starter"}, by=root)
    unpublished = await api.post("/admin/plan-versions/starter-1/move", {"to": "starter-2"}, by=root)
    assert unpublished.code == "unknown_plan"
    await api.post("/admin/plan-versions/starter-2/publish", {}, by=root)
    for _ in range(2):
        moved = await api.post("/admin/plan-versions/starter-1/move", {"to": "starter-2"}, by=root)
        assert moved.data == {"moved": 0, "scheduled": 1, "left": 0}
    clock.instant = datetime(2026, 4, 10, tzinfo=UTC)
    await due.run(worker, clock)
    last = (await subscriptions(worker))[-1]
    assert (last.started_at, last.anchor_day, last.state) == (clock.now(), 10, "active")
    await holds(worker, ada.organization_id)


async def test_a_draft_can_be_deleted_and_its_plan_with_it(api: Api, worker: Database) -> None:
    """What was never published leaves no trace."""
    root = await operator(api, worker)
    await api.post("/admin/plans", GOLD, by=root)
    await api.post("/admin/plans", GOLD, by=root)
    assert (await api.call("DELETE", "/admin/plan-versions/gold-2", by=root)).status == 200
    assert (await api.call("DELETE", "/admin/plans/gold", by=root)).status == 200
    assert (await api.call("DELETE", "/admin/plans/gold", by=root)).code == "unknown_plan"


@pytest.mark.parametrize(
    "wrong",
    [
        {"trial_days": -1},
        {"trial_days": 731},
        {"entitlements": {"a": None}},
        {"entitlements": {"UPPER": True}},
        {"meters": [{"code": "x", "aggregation": "median"}]},
        {"meters": [{"code": "units", "aggregation": "count"}]},
        {"charges": [{"code": "base", "model": "flat", "description": "x", "amount": "42.9999999999999"}]},
        {"currency": "XXX"},
        {"quota": {"units": 0, "kind": "hard"}},
    ],
)
async def test_nonsense_is_refused_by_field(api: Api, worker: Database, wrong: dict[str, Any]) -> None:
    """The field that is wrong is named, and nothing is kept."""
    root = await operator(api, worker)
    refused = await api.post("/admin/plans", {**GOLD, **wrong}, by=root)
    assert refused.code == "invalid_request"
    assert any(field.startswith(next(iter(wrong))) for field in refused.fields)
    assert (await api.call("DELETE", "/admin/plans/gold", by=root)).code == "unknown_plan"
