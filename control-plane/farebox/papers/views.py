"""The endpoints of an invoice's papers for members: PDF, CSV, and a link for whoever pays."""

from typing import Annotated
from urllib.parse import urljoin

from pydantic import Field

from farebox import ids, problems
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Instant, Nothing, View
from farebox.files import Csv, Pdf
from farebox.invoices import links
from farebox.invoices import service as invoices
from farebox.organizations.permissions import Permission
from farebox.papers import document, pdf, spreadsheet
from farebox.problems import Refusal
from farebox.runtime import SETTINGS
from farebox.web import Answer

TAG = "Billing"


class LinkView(View):
    """A link that shows one invoice to whoever holds it, and lets him pay it."""

    url: Annotated[
        str, Field(description="Its page, with the PDF and, if something is open, a button to pay.")
    ]
    pdf_url: str
    expires_at: Instant


@endpoint(
    "GET", "/billing/invoices/{invoice_id}/pdf", "Download an invoice as PDF",
    tag=TAG, permission=Permission.VIEW_BILLING, data=Pdf, identifiers={"invoice_id": "inv"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def invoice_pdf(call: Call[Nothing, Nothing]) -> Answer[Pdf]:
    """The paper, in the language of the billing details when it was made. The same invoice gives the same
    bytes, whenever it is asked for.
    """
    exported = await invoices.export(call.session, call.uuid("invoice_id"))
    await call.end()
    fonts = call.request.app[SETTINGS].paper_fonts
    content = await pdf.in_thread(document.of_invoice(exported), fonts=fonts)
    return Answer(Pdf(name=f"{exported['invoice']['id']}.pdf", content=content), "Invoice written.")


@endpoint(
    "GET", "/billing/invoices/{invoice_id}/csv", "Download an invoice as CSV",
    tag=TAG, permission=Permission.VIEW_BILLING, data=Csv, identifiers={"invoice_id": "inv"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def invoice_csv(call: Call[Nothing, Nothing]) -> Answer[Csv]:
    """One row a line, then the taxes. Text that a spreadsheet would run stands behind an apostrophe."""
    exported = await invoices.export(call.session, call.uuid("invoice_id"))
    content = spreadsheet.write([exported]).encode()
    return Answer(Csv(name=f"{exported['invoice']['id']}.csv", content=content), "Invoice written.")


@endpoint(
    "POST", "/billing/invoices/{invoice_id}/link", "Make a link to an invoice",
    tag=TAG, permission=Permission.VIEW_BILLING, data=LinkView, status=201, effect=False,
    identifiers={"invoice_id": "inv"}, refusals=(problems.NOT_FOUND, problems.LINKS_UNAVAILABLE),
)  # fmt: skip
async def link(call: Call[Nothing, Nothing]) -> Answer[LinkView]:
    """Makes a signed link that holds for 90 days: whoever has it sees this invoice, can download it and pay
    it, without logging in, and sees nothing else. Nothing is stored.
    """
    view = await invoices.show(call.session, call.uuid("invoice_id"))
    settings = call.request.app[SETTINGS]
    secret = settings.link_secret.get_secret_value()
    if len(secret) < links.LEAST_SECRET:
        raise Refusal(problems.LINKS_UNAVAILABLE)
    if view.number is None:
        raise Refusal(problems.NOT_FOUND, log="the invoice is not issued")
    expires = call.now + links.LIFETIME
    token = links.sign(secret, ids.encode("inv", view.id), expires=expires)
    url = urljoin(settings.public_url.rstrip("/") + "/", f"invoices/{token}")
    return Answer(LinkView(url=url, pdf_url=f"{url}/pdf", expires_at=expires), "Link made.")


ENDPOINTS: Endpoints = (invoice_pdf, invoice_csv, link)
