"""An invoice's papers over HTTP: to be read by its organization's managers alone."""

from urllib.parse import urlsplit

from tests.support import planting, planting_papers
from tests.support.api_client import Api

from farebox.clock import ManualClock
from farebox.db import Database


async def test_an_invoice_is_downloaded(api: Api, worker: Database, clock: ManualClock) -> None:
    """As PDF, the same bytes each time, and as CSV; both as files to be saved, under the invoice's id."""
    owner = await api.sign_up()
    organization = await planting.organization_uuid(worker, owner)
    invoice = await planting.invoice(worker, organization, number="FB-7", at=clock.now(), minor=100)
    made = [await api.get(f"/billing/invoices/{invoice}/pdf", by=owner) for _ in range(2)]
    assert made[0].body.startswith("%PDF-")
    assert made[0].body == made[1].body
    assert made[0].headers["Content-Type"] == "application/pdf"
    assert made[0].headers["Content-Disposition"] == f'attachment; filename="{invoice}.pdf"'
    table = (await api.get(f"/billing/invoices/{invoice}/csv", by=owner)).body
    assert table.splitlines()[1].startswith("invoice,FB-7,,finalized,")
    assert table.splitlines()[1].endswith(",USD,1.00")
    member = await api.sign_up("eve@example.com", "Elsewhere")
    await planting.join(worker, member, organization, "member")
    member = await api.log_in(member.email, owner.organization_id)
    assert (await api.get(f"/billing/invoices/{invoice}/pdf", by=member)).code == "forbidden"


async def test_credit_notes_are_seen_by_their_organization(
    api: Api, worker: Database, clock: ManualClock
) -> None:
    """Listed, shown with what they take back and where it went, and downloaded."""
    owner = await api.sign_up()
    organization = await planting.organization_uuid(worker, owner)
    note = await planting_papers.credit_note(worker, organization, number="FB-8", at=clock.now())
    [entry] = (await api.get("/billing/credit-notes", by=owner)).data["items"]
    assert (entry["id"], entry["number"], entry["total"]["decimal"]) == (note, "FB-CN-000001", "-1.00")
    shown = (await api.get(f"/billing/credit-notes/{note}", by=owner)).data
    assert (shown["taken_off"]["minor"], shown["refunds"][0]["state"]) == (100, "refunded")
    assert shown["document"]["credit_note"]["lines"][0]["amount_minor"] == -100
    assert (await api.get(f"/billing/credit-notes/{note}/pdf", by=owner)).body.startswith("%PDF-")


async def test_a_link_is_made_for_who_pays(api: Api, worker: Database, clock: ManualClock) -> None:
    """It holds for 90 days and names the invoice's page."""
    owner = await api.sign_up()
    organization = await planting.organization_uuid(worker, owner)
    invoice = await planting.invoice(worker, organization, number="FB-9", at=clock.now(), minor=100)
    made = (await api.post(f"/billing/invoices/{invoice}/link", by=owner)).data
    assert urlsplit(made["url"]).path.startswith(f"/invoices/{invoice}.")
    assert made["pdf_url"] == made["url"] + "/pdf"
    assert made["expires_at"] == "2026-06-08T12:00:00Z"
