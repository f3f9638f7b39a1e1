"""Operators find any invoice and act on it; every act is theirs, with a reason, and nobody else's."""

from datetime import timedelta

from tests.support import planting
from tests.support.api_client import Api, Person

from farebox.clock import ManualClock
from farebox.db import Database


async def planted(
    api: Api, worker: Database, clock: ManualClock, name: str, *, minor: int = 4200, days: int = 0
) -> tuple[Person, str]:
    owner = await api.sign_up(f"{name}@example.com", name)
    organization = await planting.organization_uuid(worker, owner)
    at = clock.now() - timedelta(days=days)
    return owner, await planting.invoice(worker, organization, number=f"FB-{name}", at=at, minor=minor)


async def test_invoices_are_found(api: Api, worker: Database, clock: ManualClock, operator: Person) -> None:
    """By organization, by number, by state and by date of issue; in pages, newest first."""
    acme, first = await planted(api, worker, clock, "acme", days=40)
    _, second = await planted(api, worker, clock, "beta")

    async def found(**query: str) -> list[str]:
        return [row["id"] for row in (await api.get("/admin/invoices", by=operator, **query)).data["items"]]

    assert await found() == [second, first]
    assert await found(organization=acme.organization_id) == [first]
    assert await found(number="FB-b") == [second]
    assert await found(number="%") == []
    assert await found(state="paid") == []
    assert await found(issued_from=(clock.now() - timedelta(days=1)).isoformat()) == [second]
    assert await found(issued_until=(clock.now() - timedelta(days=1)).isoformat()) == [first]
    assert await found(overdue="true") == []
    assert await found(overdue="false") == [second, first]
    page = (await api.get("/admin/invoices", by=operator, limit="1")).data
    assert await found(limit="1", cursor=page["next_cursor"]) == [first]
    assert (await api.get("/admin/invoices", by=acme)).code == "operators_only"


async def test_an_operator_credits_an_invoice(
    api: Api, worker: Database, clock: ManualClock, operator: Person
) -> None:
    """A part, tried dry first, then the rest; the same key issues once; the invoice shows notes and acts."""
    owner, invoice = await planted(api, worker, clock, "acme")
    path = f"/admin/invoices/{invoice}/credit-notes"
    part = {"reason": "Outage", "lines": [{"position": 1, "amount": "12.00"}]}
    assert (await api.post(path, part, by=operator, Dry_Run="true")).data["total"]["decimal"] == "-12.00"
    made = [(await api.post(path, part, by=operator, Idempotency_Key="once")).data for _ in range(2)]
    assert made[0] == made[1]
    assert (made[0]["number"], made[0]["taken_off"]["decimal"]) == ("FB-CN-000001", "12.00")
    too_much = await api.post(
        path, {"reason": "More", "lines": [{"position": 1, "amount": "30.01"}]}, by=operator
    )
    assert (too_much.code, too_much.body["error"]["details"]["left"]) == ("not_creditable", "USD 30.00")
    wrong = await api.post(path, {"reason": "x", "lines": [{"position": 1, "amount": "1.001"}]}, by=operator)
    assert "lines.0.amount" in wrong.fields
    assert (await api.post(path, {"reason": "The rest"}, by=operator)).data["total"]["decimal"] == "-30.00"
    shown = (await api.get(f"/admin/invoices/{invoice}", by=operator)).data
    assert (shown["state"], shown["open"]["minor"], shown["credited"]["decimal"]) == ("paid", 0, "42.00")
    assert [note["total"]["decimal"] for note in shown["credit_notes"]] == ["-12.00", "-30.00"]
    assert [(each["verb"], each["reason"]) for each in shown["events"]] == [
        ("credit", "Outage"), ("credit", "The rest"),
    ]  # fmt: skip
    assert shown["events"][0]["actor"] == f"operator {operator.user_id}"
    note = made[0]["id"]
    assert (await api.get(f"/admin/credit-notes/{note}/pdf", by=operator)).body.startswith("%PDF-")
    assert (await api.post(path, {"reason": "Mine"}, by=owner)).code == "operators_only"


async def test_an_operator_voids_and_gives_up(
    api: Api, worker: Database, clock: ManualClock, operator: Person
) -> None:
    """Each with a reason, each refused where the state does not allow it, with what can be done instead."""
    _, first = await planted(api, worker, clock, "acme")
    _, second = await planted(api, worker, clock, "beta")
    assert (await api.post(f"/admin/invoices/{first}/void", {}, by=operator)).status == 422
    voided = (await api.post(f"/admin/invoices/{first}/void", {"reason": "Twice"}, by=operator)).data
    assert (voided["state"], voided["number"], voided["open"]["minor"]) == ("void", "FB-acme", 0)
    again = await api.post(f"/admin/invoices/{first}/write-off", {"reason": "No"}, by=operator)
    assert (again.code, again.body["error"]["details"]["state"]) == ("invoice_state", "void")
    gone = await api.post(f"/admin/invoices/{second}/write-off", {"reason": "Bankrupt"}, by=operator)
    assert gone.data["state"] == "uncollectible"
    back = (await api.post(f"/admin/invoices/{second}/reopen", {"reason": "Not so"}, by=operator)).data
    assert (back["state"], [each["verb"] for each in back["events"]]) == (
        "finalized", ["write_off", "reopen"],
    )  # fmt: skip
    assert (await api.get(f"/admin/invoices/{second}/pdf", by=operator)).body.startswith("%PDF-")
    unknown = "/admin/invoices/inv_00000000000000000000000000/void"
    assert (await api.post(unknown, {"reason": "x"}, by=operator)).code == "not_found"
