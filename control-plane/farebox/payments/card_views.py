"""The endpoints of saved cards. Card data goes from the browser to the provider and never passes here."""

from farebox import ids, problems
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Empty, Nothing
from farebox.organizations.permissions import Permission
from farebox.payments import accounts, cards
from farebox.payments.fields import CardsView, CardView, SavedInput, SetupView, shown_card
from farebox.payments.provider import ProviderAwayError, ProviderError, ProviderRefusedError
from farebox.payments.views import TAG, request_key, till
from farebox.problems import Refusal
from farebox.runtime import SETTINGS
from farebox.web import Answer

_REFUSALS = (problems.PAYMENTS_UNAVAILABLE,)


def _unavailable(error: ProviderError) -> Refusal:
    return Refusal(
        problems.PAYMENTS_UNAVAILABLE,
        "The payment provider cannot do that now.",
        details={"code": error.code, "reason": error.reason},
    )


@endpoint(
    "GET", "/payment-methods", "List saved cards",
    tag=TAG, permission=Permission.VIEW_BILLING, data=CardsView,
)  # fmt: skip
async def list_cards(call: Call[Nothing, Nothing]) -> Answer[CardsView]:
    """Lists the organization's saved cards, the one that is charged first."""
    rows = await cards.listed(call.session, call.organization_id)
    return Answer(CardsView(items=[shown_card(row) for row in rows]), "Cards listed.")


@endpoint(
    "POST", "/payment-methods/setup", "Begin to save a card",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, data=SetupView, status=201, begins=False,
    refusals=_REFUSALS,
)  # fmt: skip
async def begin_saving(call: Call[Nothing, Nothing]) -> Answer[SetupView]:
    """Makes a SetupIntent. The browser confirms it with Stripe's Elements, and the card is saved for charges
    without its holder.
    """
    await call.begin()
    await call.end()
    house, key = till(call), call.request.app[SETTINGS].stripe_publishable_key
    stripe = house.providers.elements()
    if call.dry_run:
        return Answer(SetupView(setup_id="", client_secret="", publishable_key=key), "Would be begun.")
    try:
        customer = await accounts.make_known(house, stripe, call.organization_id)
        name = request_key(call) or ids.uuid7().hex
        setup_id, secret = await stripe.setup(
            customer.provider_id, str(call.organization_id), f"setup-{call.organization_id.hex}-{name}"[:255]
        )
    except (ProviderAwayError, ProviderRefusedError) as error:
        raise _unavailable(error) from error
    return Answer(SetupView(setup_id=setup_id, client_secret=secret, publishable_key=key), "Card begun.")


@endpoint(
    "POST", "/payment-methods", "Save a card",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, body=SavedInput, data=CardView, status=201, begins=False,
    refusals=(*_REFUSALS, problems.NOT_FOUND),
)  # fmt: skip
async def save(call: Call[SavedInput, Nothing]) -> Answer[CardView]:
    """Keeps the card that a confirmed SetupIntent has saved. Its webhook does the same."""
    session = await call.begin()
    known = await accounts.known(session, call.organization_id, "stripe")
    await call.end()
    stripe = till(call).providers.elements()
    try:
        customer, card = await stripe.saved_by(call.body.setup_id)
    except ProviderRefusedError as error:
        raise Refusal(problems.NOT_FOUND, log=str(error)) from error
    except ProviderAwayError as error:
        raise _unavailable(error) from error
    if known is None or customer != known.provider_id or card is None:
        raise Refusal(problems.NOT_FOUND, "There is no confirmed SetupIntent of yours with that id.")
    session = await call.begin()
    row = await cards.keep(session, call.organization_id, "stripe", card, now=call.now)
    return Answer(shown_card(row), "Card saved.")


@endpoint(
    "POST", "/payment-methods/{card_id}/default", "Charge this card from now on",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, data=CardView, identifiers={"card_id": "card"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def make_default(call: Call[Nothing, Nothing]) -> Answer[CardView]:
    """Makes a saved card the one that is charged."""
    row = await cards.make_default(call.session, call.organization_id, call.uuid("card_id"))
    return Answer(shown_card(row), "This card is charged from now on.")


@endpoint(
    "DELETE", "/payment-methods/{card_id}", "Remove a saved card",
    tag=TAG, permission=Permission.MANAGE_PAYMENTS, data=Empty, identifiers={"card_id": "card"}, begins=False,
    refusals=(problems.NOT_FOUND, *_REFUSALS),
)  # fmt: skip
async def remove(call: Call[Nothing, Nothing]) -> Answer[Empty]:
    """Removes a card here and at the provider; the newest other one is charged from now on."""
    card_id = call.uuid("card_id")
    session = await call.begin()
    row = await cards.remove(session, call.organization_id, card_id, now=call.now)
    await call.end()
    if not call.dry_run:
        house = till(call)
        if any(each.name == row.provider for each in house.providers.switched_on):
            try:
                await house.providers.named(row.provider).forget_card(row.provider_id)
            except (ProviderAwayError, ProviderRefusedError) as error:
                raise _unavailable(error) from error
    return Answer(Empty(), "Card removed.")


ENDPOINTS: Endpoints = (list_cards, begin_saving, save, make_default, remove)
