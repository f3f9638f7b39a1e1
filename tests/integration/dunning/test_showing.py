"""What members and operators see of dunning, and what operators change, over HTTP and by command."""

import asyncio
import json
import sys
from typing import Any

from sqlalchemy import text
from tests.integration.dunning.debts import DAY, Debts
from tests.integration.payments.test_killed import environment

from farebox import ids
from farebox.dunning import foretelling


async def operator(debts: Debts) -> None:
    """Make the house's customer an operator too."""
    async with debts.house.worker.transaction() as session:
        await session.execute(
            text("UPDATE users SET is_operator = true WHERE id = :u"), {"u": debts.house.person.user_uuid}
        )


async def farebox(debts: Debts, *arguments: str) -> Any:
    """Run `farebox dunning … --json`; returns what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "farebox_cli", "dunning", *arguments, "--json",
        env=environment(debts.house.settings), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_a_member_sees_what_follows(debts: Debts) -> None:
    """The overdue invoice, its next step and the day service ends; a case with what was done; then none."""
    invoice = await debts.issue(1000, terms=0)
    due = debts.house.clock.now()
    await debts.run()
    api, person = debts.house.api, debts.house.person
    [shown] = (await api.get("/billing/dunning", by=person)).data["items"]
    assert (shown["invoice"], shown["next_step"]) == (ids.encode("inv", invoice), "remind")
    assert shown["suspends_at"] == (due + 14 * DAY).isoformat().replace("+00:00", "Z")
    case = (await api.get(f"/billing/dunning/{shown['id']}", by=person)).data
    assert [(step["kind"], step["outcome"]) for step in case["steps"]] == [
        ("charge", "there is no card to charge")
    ]
    await debts.transfer(1000)
    assert (await api.get("/billing/dunning", by=person)).data["items"] == []


async def test_the_preview_is_what_then_happens(debts: Debts) -> None:
    """Who is foretold to be reminded, charged and cut off by each evening is; those who are kept are not."""
    house = debts.house
    await house.card("chargeCustomerFail")
    harsh = await debts.issue(1000, terms=2)
    on_terms = await debts.issue(2000, terms=1, collection="send_invoice")
    foretold: set[tuple[str, str, int]] = set()
    wall = house.clock.now()
    async with house.worker.transaction() as session:
        for each in [e async for e in foretelling.foretell(session, until=wall + 30 * DAY, wall=wall)]:
            foretold |= {(each.debt.number, step.kind, step.number) for step in each.steps}
            assert each.kept == ("pays by invoice" if each.debt.invoice_id == on_terms else None)
    await debts.days(30)
    done = await house.rows(
        "SELECT i.number, s.kind, s.number AS n FROM dunning_steps s "
        "JOIN dunning_cases c ON c.id = s.case_id JOIN invoices i ON i.id = c.invoice_id "
        "WHERE s.state = 'done'"
    )
    assert {(row["number"], row["kind"], row["n"]) for row in done} == foretold
    assert ("FB-1", "suspend", 1) in foretold
    assert (await debts.case(harsh))["suspended_at"] is not None


async def test_operators_look_pause_and_resume(debts: Debts) -> None:
    """The list, the preview, a pause with its reason, and the refusal of a second one."""
    await debts.issue(1000, terms=0)
    await debts.run()
    await operator(debts)
    api, person = debts.house.api, debts.house.person
    [case] = (await api.get("/admin/dunning", by=person)).data["items"]
    seen = (await api.get("/admin/dunning/preview", by=person)).data
    assert (seen["cut_off"], seen["items"][0]["organization"]) == (0, person.organization_id)
    path = f"/admin/dunning/cases/{case['id']}"
    assert (await api.post(f"{path}/pause", {"reason": "talking"}, by=person)).data["state"] == "paused"
    again = await api.post(f"{path}/pause", {"reason": "talking"}, by=person)
    assert (again.status, again.code) == (409, "dunning_state")
    seen = (await api.get("/admin/dunning/preview", by=person)).data
    assert seen["items"][0]["kept"] == "paused"
    assert (await api.post(f"{path}/resume", {}, by=person)).data["state"] == "open"
    assert (await api.get(path, by=person)).data["state"] == "open"


async def test_operators_set_rules_that_are_then_followed(debts: Debts) -> None:
    """House, plan, organization: each over the one before; days out of order are refused by name."""
    await operator(debts)
    api, person = debts.house.api, debts.house.person
    own = f"/admin/organizations/{person.organization_id}/dunning"
    reply = await api.call("PUT", own, by=person, json={"retries": [3, 1]})
    assert (reply.status, reply.code) == (422, "dunning_rules")
    assert "retries" in reply.body["error"]["message"]
    await api.call("PUT", "/admin/dunning/policy", by=person, json={"suspend_after": 5, "grace": 1})
    await api.call("PUT", "/admin/plans/free/dunning", by=person, json={"suspend_after": None})
    await api.call("PUT", own, by=person, json={"suspend_after": 2})
    assert (await api.get("/admin/dunning/policy", by=person)).data["policy"]["suspend_after"] == 5
    assert (await api.get(own, by=person)).data["policy"] == {"suspend_after": 2}
    await debts.issue(1000, terms=0)
    await debts.run()
    await debts.days(2)
    assert await debts.state() == "suspended"
    person = await api.log_in(person.email, person.organization_id)
    reply = await api.call("PUT", f"{own}/exemption", by=person, json={"reason": "a school"})
    assert reply.status == 200, reply.body
    assert await debts.state() == "past_due"
    reply = await api.call("PUT", f"{own}/exemption", by=person, json={"reason": None})
    assert reply.data["exempt_because"] is None
    await debts.days(1)
    assert await debts.state() == "suspended"


async def test_the_commands_do_the_same(debts: Debts) -> None:
    """list, show, preview, pause, resume, exempt and rules, as an operator types them."""
    await debts.issue(1000, terms=0)
    debts.house.clock.advance(DAY * 0)
    await debts.run()
    organization = debts.house.person.organization_id
    [case] = await farebox(debts, "list", "--organization", organization)
    assert (await farebox(debts, "show", case["id"]))["number"] == "FB-1"
    seen = await farebox(debts, "preview", "--on", "2999-01-01T00:00:00Z")
    assert seen["cut_off"] == 1
    assert (await farebox(debts, "pause", case["id"], "--reason", "talking"))["paused_because"] == "talking"
    assert (await farebox(debts, "resume", case["id"]))["state"] == "open"
    assert (await farebox(debts, "exempt", organization, "--reason", "a school"))["exempt"] == "a school"
    assert (await farebox(debts, "preview"))["items"][0]["kept"] == "exempt"
    await farebox(debts, "exempt", organization, "--end")
    set_to = await farebox(debts, "rules", "--organization", organization, "--suspend-after", "never")
    assert set_to == {"suspend_after": None}
    assert (await farebox(debts, "rules"))["retries"] == [0, 3, 5, 7]
