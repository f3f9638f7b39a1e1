"""A whole year of one customer through the public API: every unit is on an invoice, every cent is derived."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.subscriptions.operators import operator
from tests.scenarios.life import Life
from tests.support.api_client import Api
from tests.support.web import api, clock, settings, worker

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.settings import Settings
from farebox_cli.verify import expectation
from farebox_cli.verify.document import read
from farebox_cli.verify.recount import Counted

__all__ = ["api", "clock", "settings", "worker"]
pytestmark = pytest.mark.timeout(600)
STARTER: dict[str, Any] = {
    "code": "starter", "name": "Starter", "trial_days": 14,
    "quota": {"units": 10_000, "kind": "soft"},
    "charges": [
        {"code": "base", "model": "flat", "description": "Starter", "amount": "10.00", "prorate": "second"},
        {"code": "requests", "model": "per_unit", "description": "Beyond", "included": "10000",
         "unit_price": "0.01"},
    ],
}  # fmt: skip
MORE: dict[str, Any] = {
    "code": "more", "name": "More", "quota_units": 1000,
    "charges": [
        {"code": "piece", "model": "flat", "description": "More", "amount": "5.00", "prorate": "second"},
        {"code": "use", "model": "per_unit", "description": "Its use", "unit_price": "0.001"},
    ],
}  # fmt: skip


async def test_a_billing_year(api: Api, worker: Database, clock: ManualClock, settings: Settings) -> None:
    """Trial, starter, add-on, upgrade, downgrade at the end, pause, resume, cancel, free.

    Periods tile the year; each invoice's lines are what the independent rater makes of its terms; what was
    metered stands on invoices, billable or in a named reason, to the unit.
    """
    root, ada = await operator(api, worker), await api.sign_up()
    await api.post("/admin/plans", STARTER, by=root)
    assert (await api.post("/admin/plan-versions/starter-2/publish", {}, by=root)).status == 200
    assert (await api.post("/admin/add-ons", MORE, by=root)).status == 201
    life = await Life.begun(api, worker, clock, settings, ada)
    seen = []

    async def then(instant: str, requests: int) -> None:
        await life.to(instant)
        await life.use(requests)
        await life.use(requests // 10, outcome="rate_limited", status=429)
        seen.append(await life.state())

    await life.use(17)
    clock.advance(timedelta(seconds=1))
    await life.ask("/change", {"plan": "starter"})
    await then("2026-03-12T10:00", 3_000)
    await then("2026-03-26T10:00", 12_000)
    await then("2026-05-15T08:00", 500)
    await life.ask("/add-ons", {"add_on": "more", "quantity": 2}, "PUT")
    await then("2026-05-20T08:00", 400)
    await life.ask("/change", {"plan": "pro"})
    await then("2026-05-21T08:00", 700)
    await life.ask("/add-ons", {"add_on": "more", "quantity": 0}, "PUT")
    scheduled = await life.ask("/change", {"plan": "starter"})
    assert (scheduled["plan"]["code"], scheduled["next_plan"]["code"]) == ("pro", "starter")
    await then("2026-07-15T08:00", 10_500)
    await life.ask("/pause")
    await then("2026-09-25T08:00", 0)
    await life.ask("/resume")
    await then("2026-09-26T08:00", 900)
    await life.ask("/cancel")
    await then("2026-09-27T08:00", 30)
    await then("2026-12-05T08:00", 40)
    await life.to("2027-03-15T00:10")
    assert seen == [
        ("starter", "trialing"), ("starter", "active"), ("starter", "active"), ("starter", "active"),
        ("pro", "active"), ("starter", "active"), ("starter", "paused"), ("starter", "active"),
        ("starter", "cancelled"), ("free", "active"),
    ]  # fmt: skip

    made = await life.invoices()
    edges = [(each["period_start"], each["period_end"]) for each in made]
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    kinds = Counter(each["basis"]["period"]["kind"] for each in made)
    assert kinds["trial"] == 1
    assert kinds["paused"] >= 1
    metered: Counter[str] = Counter()
    for each in made:
        basis = each["basis"]
        metered["served"] += basis["billable"]["units"]
        metered += Counter({reason: count["units"] for reason, count in basis["excluded"].items()})
        if basis["period"]["kind"] != "regular":
            assert each["total"]["minor"] == 0
        await _is_what_the_naive_rater_says(api, life, each)
    assert metered == life.used
    assert {each["basis"]["plan"] for each in made} == {"free-1", "starter-2", "pro-1"}
    carried = [
        (each["basis"]["plan"], line["code"]) for each in made for line in each["lines"]
        if line["code"].startswith("more-1")
    ]  # fmt: skip
    assert carried == [
        ("starter-2", "more-1-1"), ("starter-2", "more-1-2"), ("pro-1", "more-1-1"), ("pro-1", "more-1-2")
    ]  # fmt: skip


async def _is_what_the_naive_rater_says(api: Api, life: Life, invoice: dict[str, Any]) -> None:
    answer = await api.get(f"/billing/invoices/{invoice['id']}/proof", by=life.person)
    proof = read(answer.data["document"])
    derived = expectation.lines(proof.terms, Counted(proof.terms), "USD", is_whole=False)
    shown = [(line["kind"], line["code"], line["amount"]["minor"]) for line in invoice["lines"]]
    assert shown == [(line.kind, line.code, line.minor) for line in derived]
    assert invoice["total"]["minor"] == sum(line.minor for line in derived)
