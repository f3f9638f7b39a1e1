"""The stand-in refuses what Stripe refuses: keys, versions, parameters, and answers twice the same."""

import asyncio
from typing import Any

import aiohttp
import pytest
import stripe
from stripe import StripeClient

from farebox.sandbox.app import Sandbox
from farebox.sandbox.stripe import parameters
from farebox.sandbox.stripe.call import Endpoint
from farebox.sandbox.stripe.catalogue import ENDPOINTS


def _named(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


async def _ask(http: aiohttp.ClientSession, method: str, path: str, **given: str) -> tuple[int, Any]:
    how: Any = {"data" if method == "POST" else "params": given}
    async with http.request(method, path.replace("{id}", "x_1"), **how) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=_named)
async def test_every_endpoint_refuses_an_unknown_parameter(
    endpoint: Endpoint, http: aiohttp.ClientSession
) -> None:
    """400 parameter_unknown that names it, before anything else is looked at."""
    status, body = await _ask(http, endpoint.method, endpoint.path, no_such_thing="1")
    assert (status, body["error"]["code"], body["error"]["param"]) == (
        400,
        "parameter_unknown",
        "no_such_thing",
    )


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=_named)
def test_what_is_honoured_exists_at_stripe(endpoint: Endpoint) -> None:
    """No endpoint acts on a parameter that the SDK does not know, or that it would never receive."""
    assert endpoint.honours - endpoint.also <= parameters.parameters_of(endpoint.typed).keys()


async def test_a_parameter_that_is_not_simulated_is_said_so(http: aiohttp.ClientSession) -> None:
    """A parameter of Stripe's that the sandbox would ignore is refused, and nothing is made."""
    status, body = await _ask(
        http, "POST", "/v1/payment_intents", amount="100", currency="usd", transfer_group="g"
    )
    assert (status, body["error"]["code"]) == (400, "sandbox_not_simulated")
    _, listed = await _ask(http, "GET", "/v1/payment_intents")
    assert listed["data"] == []


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"currency": "usd"}, "amount", "parameter_missing"),
        ({"amount": "42.99", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": "1e3", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": "٤٢", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": "", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": "-1", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ({"amount": "49", "currency": "usd"}, "amount", "amount_too_small"),
        ({"amount": "100000000", "currency": "usd"}, "amount", "amount_too_large"),
        ({"amount": "100", "currency": "zzz"}, "currency", None),
        ({"amount": "100", "currency": "usd", "confirm": "yes"}, "confirm", None),
        ({"amount": "100", "currency": "usd", "off_session": "true"}, "off_session", None),
        ({"amount": "100", "currency": "usd", "capture_method": "soon"}, "capture_method", None),
        ({"amount": "100", "currency": "usd", "customer": "cus_none"}, "customer", "resource_missing"),
        ({"amount": "100", "currency": "usd", "metadata": "text"}, "metadata", None),
        (
            {"amount": "100", "currency": "usd", "amount_details[nonsense]": "1"},
            "amount_details[nonsense]",
            "parameter_unknown",
        ),
        ({"amount": "100", "currency": "usd", "expand[]": "nonsense"}, "expand", None),
    ],
)
async def test_a_wrong_value_is_named(
    http: aiohttp.ClientSession, given: dict[str, str], param: str, code: str | None
) -> None:
    """400 in Stripe's shape, with the parameter; nothing is made."""
    status, body = await _ask(http, "POST", "/v1/payment_intents", **given)
    assert (status, body["error"]["param"], body["error"].get("code")) == (400, param, code)
    assert body["error"]["type"] == "invalid_request_error"
    assert (await _ask(http, "GET", "/v1/payment_intents"))[1]["data"] == []


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [("", 401, None), ("Bearer sk_test_wrong", 401, None), ("Bearer pk", 401, "secret_key_required")],
)
async def test_keys_are_checked(sandbox: Sandbox, authorization: str, status: int, code: str | None) -> None:
    """No key, a wrong key and the publishable key are each refused; no key is shown back whole."""
    given = authorization.replace("pk", sandbox.keys.stripe_publishable_key)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.url}/v1/customers", headers={"Authorization": given}) as answer,
    ):
        body = await answer.json()
    assert (answer.status, body["error"].get("code")) == (status, code)


async def test_card_numbers_come_from_the_form_alone(client: StripeClient) -> None:
    """A server that sends a number gets Stripe's refusal."""
    card: Any = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    with pytest.raises(stripe.StripeError, match="generally unsafe"):
        await client.v1.payment_methods.create_async({"type": "card", "card": card})


async def test_an_idempotency_key_gives_one_charge(client: StripeClient) -> None:
    """The same body gives the same answer, also for a decline; another body is refused."""
    made = [
        await client.v1.customers.create_async({"email": "a@example.com"}, {"idempotency_key": "k1"})
        for _ in range(3)
    ]
    assert len({customer.id for customer in made}) == 1
    with pytest.raises(stripe.IdempotencyError):
        await client.v1.customers.create_async({"email": "b@example.com"}, {"idempotency_key": "k1"})
    assert len((await client.v1.customers.list_async()).data) == 1


async def test_a_key_in_flight_is_a_conflict(http: aiohttp.ClientSession, control: Any) -> None:
    """While the first request is at work, a second with its key is answered 409, not done."""
    await control("faults", kind="slow", path="/v1/customers", seconds=0.5)

    async def ask() -> int:
        async with http.post(
            "/v1/customers", data={"name": "A"}, headers={"Idempotency-Key": "k2"}
        ) as answer:
            return answer.status

    assert sorted(await asyncio.gather(ask(), ask())) == [200, 409]
    assert await ask() == 200
    assert len((await _ask(http, "GET", "/v1/customers"))[1]["data"]) == 1


async def test_lists_are_walked_to_the_end(client: StripeClient) -> None:
    """Auto-pagination over pages of two sees each object once, the newest first; `created` filters."""
    made = [(await client.v1.customers.create_async({"name": str(number)})).id for number in range(7)]
    page = await client.v1.customers.list_async({"limit": 2})
    assert [customer.id async for customer in page.auto_paging_iter()] == made[::-1]
    assert (await client.v1.customers.list_async({"created": {"gt": 4_000_000_000}})).data == []
    backwards = await client.v1.customers.list_async({"limit": 2, "ending_before": made[0]})
    assert [customer.id for customer in backwards.data] == [made[2], made[1]]


async def test_another_version_is_refused(http: aiohttp.ClientSession) -> None:
    """The shapes are those of one version; asking for another must not silently give them."""
    async with http.get("/v1/customers", headers={"Stripe-Version": "2020-08-27"}) as answer:
        assert answer.status == 400
    async with http.post("/v1/customers", json={"name": "A"}) as answer:
        assert answer.status == 400
    async with http.get("/v1/nothing") as answer:
        assert answer.status == 404
