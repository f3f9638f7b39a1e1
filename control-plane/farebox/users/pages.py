"""The page that the verification mail links to. A click on the link shows it; only its button verifies, so
that programs which follow links in mails use nothing up.
"""

from typing import Final

from aiohttp import web

from farebox import problems
from farebox.addresses import caller_address
from farebox.html import page
from farebox.problems import Refusal
from farebox.runtime import CLOCK, DATABASE, RATES, SETTINGS
from farebox.users import service

_LONGEST_TOKEN: Final = 200


async def ask(request: web.Request) -> web.Response:
    """Show the button."""
    return page("verify_email.html", token=request.query.get("token", "")[:_LONGEST_TOKEN], result=None)


async def verify(request: web.Request) -> web.Response:
    """Verify, and say how it went."""
    try:
        await _verify(request)
    except Refusal as refusal:
        return page(
            "verify_email.html",
            status=refusal.problem.status,
            headers=refusal.headers,
            token="",
            result=refusal.message,
        )
    return page("verify_email.html", token="", result="Your e-mail is verified. You can issue live keys now.")


async def _verify(request: web.Request) -> None:
    await _count(request)
    token = (await request.post()).get("token")
    if not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN:
        raise Refusal(problems.VERIFICATION_INVALID)
    async with request.app[DATABASE].transaction() as session:
        await service.verify_email(session, token, now=request.app[CLOCK].now())


async def _count(request: web.Request) -> None:
    settings, now = request.app[SETTINGS], request.app[CLOCK].now()
    caller = f"auth:{caller_address(request, settings.trusted_proxies)}"
    allowance = await request.app[RATES].take(
        caller, limit=settings.auth_rate_limit, may_pass_uncounted=False
    )
    if not allowance.allowed:
        headers = allowance.headers("auth", unix_now=now.timestamp())
        raise Refusal(problems.RATE_LIMITED, headers=headers)


ROUTES: Final = (web.get("/verify-email", ask), web.post("/verify-email", verify))
