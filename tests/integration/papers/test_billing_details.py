"""Who buys and who sells: what may be said of them, by whom, and what becomes of it."""

from typing import Any

import pytest
from tests.support import planting
from tests.support.api_client import Api, Person

from farebox.db import Database

ACME = {
    "legal_name": "Acme GmbH", "line1": "Torstraße 1", "city": "Berlin", "postal_code": "10119",
    "country": "DE", "tax_id": "DE 123 456 789", "email": "Billing@Acme.example", "language": "de-AT",
}  # fmt: skip


async def test_an_owner_says_who_is_billed(api: Api, worker: Database) -> None:
    """Before, the organization's name stands there; after, what was said, its VAT number in its plain form.
    An admin reads it and changes nothing.
    """
    owner = await api.sign_up()
    before = (await api.get("/billing/details", by=owner)).data
    assert (before["legal_name"], before["net_days"], before["updated_at"]) == ("Engines", None, None)
    kept = (await api.call("PUT", "/billing/details", by=owner, json=ACME)).data
    assert (kept["tax_id"], kept["email"], kept["collection"]) == (
        "DE123456789", "billing@acme.example", "automatic",
    )  # fmt: skip
    admin = await api.sign_up("eve@example.com", "Elsewhere")
    organization = await planting.organization_uuid(worker, owner)
    await planting.join(worker, admin, organization, "admin")
    admin = await api.log_in(admin.email, owner.organization_id)
    assert (await api.get("/billing/details", by=admin)).data == kept
    assert (await api.call("PUT", "/billing/details", by=admin, json=ACME)).code == "forbidden"


@pytest.mark.parametrize(
    ("wrong", "field", "remedy"),
    [
        ({"country": "XX"}, "country", "ISO 3166-1"),
        ({"country": "de"}, "country", "ISO 3166-1"),
        ({"tax_id": "FR123"}, "tax_id", "DE123456789"),
        ({"language": "deutsch!"}, "language", "must match"),
        ({"legal_name": ""}, "legal_name", "at least 1"),
        ({"legal_name": "a\u202eb"}, "legal_name", "direction characters"),
        ({"line1": "x" * 201}, "line1", "at most 200"),
        ({"email": "nobody"}, "email", "e-mail address"),
        ({"net_days": 0}, "net_days", "not known"),
    ],
)
async def test_what_cannot_stand_on_an_invoice_is_refused(
    api: Api, wrong: dict[str, Any], field: str, remedy: str
) -> None:
    """The field is named with its remedy, terms are not the customer's to set, and nothing is kept."""
    owner = await api.sign_up()
    refused = await api.call("PUT", "/billing/details", by=owner, json=ACME | wrong)
    assert refused.status == 422
    assert remedy in refused.fields[field]
    assert (await api.get("/billing/details", by=owner)).data["updated_at"] is None


async def test_an_operator_agrees_terms(api: Api, operator: Person) -> None:
    """Terms stand beside what the customer says of himself, and null returns to the house's."""
    owner = await api.sign_up()
    path = f"/admin/organizations/{owner.organization_id}/billing-details"
    net_30 = {"net_days": 30, "collection": "send_invoice", "tax_exempt": True}
    agreed = (await api.call("PATCH", path, by=operator, json=net_30)).data
    assert (agreed["legal_name"], agreed["net_days"]) == ("Engines", 30)
    kept = (await api.call("PUT", "/billing/details", by=owner, json=ACME)).data
    assert (kept["net_days"], kept["collection"], kept["tax_exempt"]) == (30, "send_invoice", True)
    again = (await api.call("PATCH", path, by=operator, json={"net_days": None})).data
    assert (again["net_days"], again["collection"], again["legal_name"]) == (
        None,
        "send_invoice",
        "Acme GmbH",
    )
    assert (await api.call("PATCH", path, by=operator, json={"net_days": 366})).status == 422
    assert (await api.call("PATCH", path, by=owner, json=net_30)).code == "operators_only"


async def test_an_operator_describes_the_issuer(api: Api, operator: Person) -> None:
    """The seller that invoices name is kept under the code of the setting `issuer`."""
    seller = {"legal_name": "Farebox SAS", "country": "FR", "tax_id": "FRAB123456789", "number_prefix": "FR-"}
    kept = (await api.call("PUT", "/admin/issuers/Farebox", by=operator, json=seller)).data
    assert (kept["code"], kept["tax_id"], kept["number_prefix"]) == ("Farebox", "FRAB123456789", "FR-")
    assert (await api.get("/admin/issuers", by=operator)).data["items"] == [kept]
    wrong = await api.call("PUT", "/admin/issuers/Farebox", by=operator, json=seller | {"tax_id": "DE1"})
    assert "prefix" in wrong.fields["tax_id"]
