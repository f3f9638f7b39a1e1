"""The endpoints of billing details: a customer's own, his terms, and those who issue invoices."""

import re
from typing import Final

from farebox import problems
from farebox.billing_details import editing
from farebox.billing_details.fields import (
    DetailsInput,
    DetailsView,
    IssuerInput,
    IssuersView,
    IssuerView,
    TermsInput,
    shown,
)
from farebox.endpoints import Access, Call, Endpoints, endpoint
from farebox.fields import Nothing
from farebox.organizations.permissions import Permission
from farebox.problems import Refusal
from farebox.web import Answer

TAG = "Billing"
OPERATORS = "Operators"
_CODE: Final = re.compile(r"[a-zA-Z0-9_.\-]{1,64}\Z")


@endpoint(
    "GET", "/billing/details", "Show who is billed",
    tag=TAG, permission=Permission.VIEW_BILLING, data=DetailsView,
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[DetailsView]:
    """Shows the name, address and tax number that the next invoice will carry, and its terms."""
    row = await editing.profile(call.session, call.organization_id)
    return Answer(DetailsView(**shown(row, DetailsView)), "Billing details shown.")


@endpoint(
    "PUT", "/billing/details", "Say who is billed",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, body=DetailsInput, data=DetailsView,
)  # fmt: skip
async def write(call: Call[DetailsInput, Nothing]) -> Answer[DetailsView]:
    """Replaces name, address, tax number, e-mail and language. Invoices that were issued never change.
    Terms are an operator's to agree.
    """
    row = await editing.write(call.session, call.organization_id, call.body, now=call.now)
    return Answer(DetailsView(**shown(row, DetailsView)), "Billing details kept.")


@endpoint(
    "GET", "/admin/organizations/{organization_id}/billing-details", "Show an organization's billing details",
    tag=OPERATORS, access=Access.OPERATOR, data=DetailsView, identifiers={"organization_id": "org"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show_of(call: Call[Nothing, Nothing]) -> Answer[DetailsView]:
    """Shows an organization's billing details and terms."""
    organization = await call.operate_within(call.identifier("organization_id"))
    row = await editing.profile(call.session, organization)
    return Answer(DetailsView(**shown(row, DetailsView)), "Billing details shown.")


@endpoint(
    "PATCH", "/admin/organizations/{organization_id}/billing-details", "Agree terms with an organization",
    tag=OPERATORS, access=Access.OPERATOR, body=TermsInput, data=DetailsView,
    identifiers={"organization_id": "org"}, refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def agree(call: Call[TermsInput, Nothing]) -> Answer[DetailsView]:
    """Sets days until due, how invoices are collected and whether taxes are levied, from the next one on."""
    organization = await call.operate_within(call.identifier("organization_id"))
    row = await editing.agree(call.session, organization, call.body, now=call.now)
    return Answer(DetailsView(**shown(row, DetailsView)), "Terms kept.")


@endpoint(
    "GET", "/admin/issuers", "List who issues invoices",
    tag=OPERATORS, access=Access.OPERATOR, data=IssuersView,
)  # fmt: skip
async def issuers(call: Call[Nothing, Nothing]) -> Answer[IssuersView]:
    """Lists the issuers. The setting `issuer` names the one whose invoices are made."""
    rows = await editing.issuers(call.session)
    return Answer(
        IssuersView(items=[IssuerView(**shown(row, IssuerView)) for row in rows]), "Issuers listed."
    )


@endpoint(
    "PUT", "/admin/issuers/{issuer}", "Describe who issues invoices",
    tag=OPERATORS, access=Access.OPERATOR, body=IssuerInput, data=IssuerView,
    identifiers={"issuer": "code"}, refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def write_issuer(call: Call[IssuerInput, Nothing]) -> Answer[IssuerView]:
    """Describes an issuer anew. Issued invoices keep what they say, and the numbers go on counting."""
    code = call.request.match_info["issuer"]
    if not _CODE.match(code):
        raise Refusal(problems.NOT_FOUND)
    row = await editing.write_issuer(call.session, code, call.body)
    return Answer(IssuerView(**shown(row, IssuerView)), "Issuer kept.")


ENDPOINTS: Endpoints = (show, write, show_of, agree, issuers, write_issuer)
