"""The payer's browser: types a card into the provider's own form, as Elements and the checkout page do.

It talks to the provider alone, with what a browser has: the publishable key and a client secret, or the
address of a page. No card passes through Farebox, and none is printed.
"""

import re
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp

from farebox.sandbox.stripe.cards import Card, named
from farebox_cli.demo.narration import Narrator, StoryFailedError

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)


GOOD: Final = "pm_card_visa"
DECLINED: Final = "pm_card_chargeCustomerFail"
ANOTHER: Final = "pm_card_mastercard"
_EXPIRY: Final = ("12", "34")
_CVC: Final = "123"
_POSTAL_CODE: Final = "94107"


def test_card(name: str) -> Card:
    """Return one of the provider's test cards by the name that its documentation gives it."""
    card = named(name)
    if card is None:
        raise StoryFailedError(f"the provider has no test card {name}")
    return card


class Browser:
    """Fills in forms at the provider's address and shows where it typed."""

    def __init__(self, provider: str, narrator: Narrator) -> None:
        """Talk to `provider`, an address, and speak through `narrator`."""
        self._provider = provider
        self._narrator = narrator

    async def save_card(self, setup: dict[str, Any], card: Card) -> None:
        """Confirm a SetupIntent with a card, as `confirmCardSetup` of Elements does."""
        self._typing(card, f"the form of {self._provider}")
        key = {"Authorization": f"Bearer {setup['publishable_key']}"}
        month, year = _EXPIRY
        made = await self._form(
            "/v1/payment_methods",
            {
                "type": "card",
                "card[number]": card.number,
                "card[exp_month]": month,
                "card[exp_year]": f"20{year}",
                "card[cvc]": _CVC,
                "billing_details[address][postal_code]": _POSTAL_CODE,
            },
            key,
        )
        chosen = {"payment_method": made["id"], "client_secret": setup["client_secret"]}
        await self._form(f"/v1/setup_intents/{setup['setup_id']}/confirm", chosen, key)

    async def press_pay(self, link: str) -> str:
        """Open an invoice's own page by its link and press its button; return where that leads."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            async with session.get(link) as shown:
                text = await shown.text()
            form = re.search(r'<form[^>]*action="([^"]+)"', text)
            if shown.status != 200 or form is None:
                raise StoryFailedError(f"the page of the invoice answered {shown.status}, without a button")
            async with session.post(urljoin(link, form[1]), allow_redirects=False) as answer:
                if answer.status != 303:
                    raise StoryFailedError(f"the button of the invoice's page answered {answer.status}")
                return answer.headers["Location"]

    async def pay_on_page(self, page: str, card: Card) -> str:
        """Type a card on the provider's page and return where the page sends the payer then."""
        self._typing(card, f"the page {page.partition('?')[0]}")
        typed = {
            "number": card.number,
            "expiry": " / ".join(_EXPIRY),
            "cvc": _CVC,
            "postal_code": _POSTAL_CODE,
            "email": "ada@example.com",
        }
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.post(page, data=typed, allow_redirects=False) as answer,
        ):
            if answer.status != 303:
                raise StoryFailedError(f"the page at {page} answered {answer.status}: {await answer.text()}")
            return answer.headers["Location"]

    async def _form(self, path: str, fields: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.post(self._provider + path, data=fields, headers=headers) as answer,
        ):
            body: dict[str, Any] = await answer.json()
        if answer.status >= 400:
            raise StoryFailedError(f"{path} answered {answer.status}: {body['error']['message']}")
        return body

    def _typing(self, card: Card, where: str) -> None:
        does = "is declined when it is charged" if card.declines else "pays"
        self._narrator.say(f"In the browser: test card …{card.last4}, which {does}, is typed into {where}.")
