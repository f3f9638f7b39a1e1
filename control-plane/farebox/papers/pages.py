"""An invoice's own page, for whoever holds its link: see it, download it, pay what is open. Nothing else.

The signature in the address is all that opens it: no log-in, no cookie, no script. It is kept out of search
engines, caches and referrers, and out of our log, which knows routes and no addresses.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from aiohttp import hdrs, web
from sqlalchemy import text

from farebox import ids, problems
from farebox.addresses import caller_address
from farebox.credit_notes import service as credit_notes
from farebox.files import Pdf
from farebox.files import answer as file_answer
from farebox.html import page
from farebox.invoices import links
from farebox.invoices import service as invoices
from farebox.invoices.service import InvoiceView
from farebox.money import Money
from farebox.notifications.letters import language_for
from farebox.papers import document, pdf
from farebox.papers.speaking import speech
from farebox.papers.wording import WORDS
from farebox.payments import service as payments
from farebox.payments.accounts import Till
from farebox.problems import Problem, Refusal
from farebox.runtime import CLOCK, DATABASE, PROVIDERS, RATES, SETTINGS

_ENTER: Final = text("SELECT farebox_enter_invoice(:invoice)")
_LONGEST_TOKEN: Final = 200
_PAYABLE: Final = ("finalized", "overdue", "uncollectible")
_HIDDEN: Final = {"X-Robots-Tag": "noindex, nofollow, noarchive", "Cache-Control": "private, no-store"}
_GONE: Final = 410
log = structlog.get_logger(__name__)
Shown = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Opened:
    """The invoice that a link opens, as it stands now."""

    organization: UUID
    view: InvoiceView
    exported: Mapping[str, Any]
    notes: tuple[tuple[str, Money], ...]


async def show(request: web.Request) -> web.Response:
    """Show the invoice."""
    opened = await _opened(request)
    return opened if isinstance(opened, web.Response) else _page(request, opened)


async def download(request: web.Request) -> web.Response:
    """Answer with the PDF."""
    opened = await _opened(request)
    if isinstance(opened, web.Response):
        return opened
    fonts = request.app[SETTINGS].paper_fonts
    content = await pdf.in_thread(document.of_invoice(opened.exported), fonts=fonts)
    response = file_answer(Pdf(name=f"{opened.view.public_id}.pdf", content=content))
    response.headers.update(_HIDDEN)
    return response


async def pay(request: web.Request) -> web.Response:
    """Send the browser to the provider's page for what is open; if nothing is, back to the invoice."""
    opened = await _opened(request)
    if isinstance(opened, web.Response):
        return opened
    here = request.path.removesuffix("/pay")
    app = request.app
    house = Till(app[DATABASE], app[PROVIDERS], app[CLOCK], app[SETTINGS].public_url)
    try:
        row = await payments.open_checkout(
            house, opened.organization, actor=f"link {opened.view.public_id}", invoice_id=opened.view.id
        )
    except Refusal as refusal:
        if refusal.problem is problems.NOTHING_TO_PAY:
            return _to(here)
        log.warning("invoice_not_payable", invoice=opened.view.public_id, code=refusal.problem.code)
        return _page(request, opened, problem=refusal.problem)
    if row.state == "requires_action" and row.action_url:
        return _to(row.action_url)
    return _to(here)


async def back(request: web.Request) -> web.Response:
    """Receive whoever comes back from a provider's page. It asks nothing and tells nothing of the payment:
    whether it was made is known by the provider's word alone, and the receipt says so.
    """
    language = _spoken(request)
    words = WORDS[language]
    return page(
        "invoice_closed.html",
        headers=_headers(request),
        language=language,
        title=words.back,
        hint=words.back_hint,
    )


async def style(_request: web.Request) -> web.Response:
    """Answer with the page's style sheet."""
    sheet = resources.files("farebox").joinpath("templates/invoice.css").read_text(encoding="utf-8")
    return web.Response(
        text=sheet, content_type="text/css", headers={"Cache-Control": "public, max-age=3600"}
    )


async def _opened(request: web.Request) -> Opened | web.Response:
    """Return what the link opens, or the page that says why it opens nothing."""
    await _count(request)
    token, settings = request.match_info["token"], request.app[SETTINGS]
    secret = settings.link_secret.get_secret_value()
    if len(secret) < links.LEAST_SECRET or len(token) > _LONGEST_TOKEN:
        return _closed(request, problems.NOT_FOUND.status)
    try:
        invoice_id = ids.decode("inv", links.read(secret, token, now=request.app[CLOCK].now()))
    except links.ExpiredLinkError:
        return _closed(request, _GONE)
    except (links.InvalidLinkError, ids.MalformedIdError):
        return _closed(request, problems.NOT_FOUND.status)
    async with request.app[DATABASE].transaction() as session:
        organization = await session.scalar(_ENTER, {"invoice": invoice_id})
        if organization is None:
            return _closed(request, problems.NOT_FOUND.status)
        view = await invoices.show(session, invoice_id)
        exported = await invoices.export(session, invoice_id)
        notes = await credit_notes.of_invoice(session, invoice_id)
    return Opened(
        organization,
        view,
        exported,
        tuple((note.number, Money(note.currency, note.total_minor)) for note in notes),
    )


def _page(request: web.Request, opened: Opened, *, problem: Problem | None = None) -> web.Response:
    paper = document.of_invoice(opened.exported)
    view = opened.view
    said = speech(paper.language, view.total.currency, view.snapshot.get("time_zone", "UTC"))
    is_open = view.state in _PAYABLE and view.open.minor > 0
    return page(
        "invoice.html",
        status=200 if problem is None else problem.status,
        headers=_headers(request),
        paper=paper,
        words=said.words,
        state=view.state,
        state_name=_state(view, said.words.states),
        total=said.amount(view.total.minor),
        paid=said.amount(view.paid.minor) if view.paid.minor else None,
        notes=[(number, said.amount(amount.minor)) for number, amount in opened.notes],
        open=said.amount(view.open.minor) if is_open else None,
        address=request.path.removesuffix("/pay"),
        problem=said.words.cannot_pay if problem is not None else None,
    )


def _state(view: InvoiceView, names: Mapping[str, str]) -> str:
    """Return the state's name; none where an invoice asked for nothing, so that nobody waits for it."""
    return "" if view.state == "finalized" and view.open.minor == 0 else names.get(view.state, view.state)


def _closed(request: web.Request, status: int) -> web.Response:
    language = _spoken(request)
    words = WORDS[language]
    is_old = status == _GONE
    return page(
        "invoice_closed.html",
        status=status,
        headers=_headers(request),
        language=language,
        title=words.expired if is_old else words.not_found,
        hint=words.expired_hint if is_old else words.not_found_hint,
    )


def _spoken(request: web.Request) -> str:
    """Return the language that the browser prefers, of those that we write."""
    asked = request.headers.get(hdrs.ACCEPT_LANGUAGE, "").partition(",")[0].partition(";")[0]
    return language_for(asked.strip())


def _headers(request: web.Request) -> dict[str, str]:
    # Browsers hold a form's redirect to the policy too, so the pages of the providers are named.
    settings = request.app[SETTINGS]
    ours = {_origin(url) for url in (settings.stripe_api_url, settings.paystack_api_url)}
    forms = " ".join(["'self'", "https:", *sorted(ours)])
    policy = (
        f"default-src 'none'; style-src 'self'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    )
    return _HIDDEN | {"Content-Security-Policy": policy}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _to(address: str) -> web.Response:
    return web.Response(status=303, headers=_HIDDEN | {hdrs.LOCATION: address})


async def _count(request: web.Request) -> None:
    settings, now = request.app[SETTINGS], request.app[CLOCK].now()
    caller = f"public:{caller_address(request, settings.trusted_proxies)}"
    allowance = await request.app[RATES].take(caller, limit=settings.api_rate_limit, may_pass_uncounted=False)
    if not allowance.allowed:
        headers = allowance.headers("public", unix_now=now.timestamp())
        raise Refusal(problems.RATE_LIMITED, headers=headers)


ROUTES: Final = (
    web.get("/invoices/{token}", show),
    web.get("/invoices/{token}/pdf", download),
    web.post("/invoices/{token}/pay", pay),
    web.get("/portal/payments/{payment_id}", back),
    web.get("/pages/invoice.css", style),
)
