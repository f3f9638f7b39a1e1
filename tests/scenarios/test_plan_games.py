"""What it costs to play with changes of plan: never less than what was used of it."""

import pytest
from tests.integration.subscriptions.operators import operator
from tests.scenarios.life import Life
from tests.scenarios.test_billing_year import STARTER
from tests.support.api_client import Api
from tests.support.web import api, clock, settings, worker

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.settings import Settings

__all__ = ["api", "clock", "settings", "worker"]
pytestmark = pytest.mark.timeout(600)
LARGE = {
    "code": "large", "name": "Large", "quota": {"units": 100_000, "kind": "hard"},
    "charges": [
        {"code": "base", "model": "flat", "description": "Large", "amount": "310.00", "prorate": "second"}
    ],
}  # fmt: skip


async def test_burn_then_leave_and_a_last_minute_on_the_larger_plan(
    api: Api, worker: Database, clock: ManualClock, settings: Settings
) -> None:
    """Burnt included units bind to the period's end, and owe the whole base if an operator ends it; a minute
    of the larger plan costs that minute, or the part of its quota used in it.
    """
    root, ada = await operator(api, worker), await api.sign_up()
    for plan in (STARTER | {"trial_days": 0}, LARGE):
        await api.post("/admin/plans", plan, by=root)
    for version in ("starter-2", "large-1"):
        await api.post(f"/admin/plan-versions/{version}/publish", {}, by=root)
    life = await Life.begun(api, worker, clock, settings, ada)
    change, cancel = "/billing/subscription/change", "/billing/subscription/cancel"
    await life.to("2026-04-01T00:00")
    await life.ask("/change", {"plan": "starter"})
    await life.to("2026-04-02T00:00")
    await life.use(9_999)
    for path, body in ((change, {"plan": "free", "when": "now"}), (cancel, {"when": "now"}),
                       ("/billing/upgrade", {"plan": "free"})):  # fmt: skip
        refused = await api.post(path, body, by=ada)
        assert (refused.status, refused.code) == (409, "subscription_state"), path
    await life.use(1)
    act = f"/admin/organizations/{ada.organization_id}/subscription/act"
    assert (await api.post(act, {"action": "cancel_now", "reason": "asked"}, by=root)).status == 200
    await life.to("2026-04-02T01:00")
    await life.ask("/change", {"plan": "starter"})
    await life.to("2026-05-01T23:59")
    await life.ask("/change", {"plan": "large"})
    await life.to("2026-05-02T00:00")
    await life.ask("/change", {"plan": "starter", "when": "now"})
    await life.to("2026-05-31T23:00")
    await life.ask("/change", {"plan": "large"})
    await life.use(50_000)
    await life.to("2026-07-20T00:00")
    bills = [(each["basis"]["plan"], each["total"]["minor"]) for each in await life.invoices()]
    assert ("starter-2", 10_00) in bills, "a day in which all was used up owes the whole base"
    large = [minor for plan, minor in bills if plan == "large-1"]
    assert large[0] == round(310_00 * 60 / (31 * 86_400)), "a minute costs a minute"
    assert large[1] >= 155_00, "half of the quota costs half, however short"
