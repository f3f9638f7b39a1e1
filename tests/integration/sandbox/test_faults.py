"""Bad days: what was charged stays charged, and can be found again."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stripe
from stripe import AIOHTTPClient, StripeClient

from farebox.sandbox.app import Options, running
from farebox.sandbox.keys import kept_or_made

_CHARGE: Any = {
    "amount": 4299,
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "allowed_payment_method_types": ["card"],
    "metadata": {"invoice": "inv_1"},
}


async def test_an_error_after_the_charge_leaves_the_charge(client: StripeClient, control: Any) -> None:
    """500 although the money moved; the key answers the same 500 again, and the list shows the truth."""
    await control("faults", kind="error_after", path="/v1/payment_intents")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            await client.v1.payment_intents.create_async(_CHARGE, {"idempotency_key": "k"})
    (found,) = (await client.v1.payment_intents.list_async()).data
    assert (found.status, found.metadata["invoice"]) == ("succeeded", "inv_1")


async def test_a_lost_answer_is_given_again(client: StripeClient, control: Any) -> None:
    """The connection ends after the charge; the same key then shows it, without a second one."""
    await control("faults", kind="lost_answer", path="/v1/payment_intents")
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.payment_intents.create_async(_CHARGE, {"idempotency_key": "k"})
    assert (
        await client.v1.payment_intents.create_async(_CHARGE, {"idempotency_key": "k"})
    ).status == "succeeded"
    assert len((await client.v1.charges.list_async()).data) == 1


@pytest.mark.parametrize("kind", ["down", "error_before", "rate_limited"])
async def test_a_fault_before_the_work_charges_nothing(client: StripeClient, control: Any, kind: str) -> None:
    """The next request works, and there is one charge."""
    await control("faults", kind=kind, path="/v1/payment_intents")
    with pytest.raises(stripe.StripeError):
        await client.v1.payment_intents.create_async(_CHARGE, {"idempotency_key": "k"})
    assert (
        await client.v1.payment_intents.create_async(_CHARGE, {"idempotency_key": "k"})
    ).status == "succeeded"
    assert len((await client.v1.charges.list_async()).data) == 1


@asynccontextmanager
async def _client(key: str, url: str) -> AsyncIterator[tuple[StripeClient, aiohttp.ClientSession]]:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession() as session, aiohttp.ClientSession(url, headers=headers) as http:
        yield (
            StripeClient(
                key,
                base_addresses={"api": url},
                http_client=AIOHTTPClient(session=session),
                max_network_retries=0,
            ),
            http,
        )


@pytest.mark.parametrize(("kind", "charges"), [("crash_after", 1), ("crash_before", 0)])
async def test_a_kill_between_charge_and_answer_loses_no_charge(
    tmp_path: Path, kind: str, charges: int
) -> None:
    """SIGKILL after the charge: it is there at the next start, under its idempotency key and with its
    webhook.
    """
    command = [sys.executable, "-m", "farebox_cli", "sandbox", "payments", "--port=0", f"--folder={tmp_path}"]
    command.append("--stripe-webhook-url=http://127.0.0.1:9/nobody")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    said = (await process.stderr.readline()).decode()
    key = kept_or_made(tmp_path).stripe_secret_key
    async with _client(key, said.split()[-1]) as (client, http):
        async with http.post("/sandbox/faults", json={"kind": kind, "path": "/v1/payment_intents"}) as answer:
            assert answer.status == 200
        with pytest.raises(stripe.APIConnectionError):
            await client.v1.payment_intents.create_async(_CHARGE, {"idempotency_key": "k"})
    assert await process.wait() == -signal.SIGKILL
    async with running(Options(tmp_path)) as again, _client(key, again.url) as (client, http):
        assert len((await client.v1.charges.list_async()).data) == charges
        assert (
            len(again.world.store.rows("SELECT * FROM deliveries WHERE type = 'charge.succeeded'")) == charges
        )
        assert (
            await client.v1.payment_intents.create_async(_CHARGE, {"idempotency_key": "k"})
        ).status == "succeeded"
        assert len((await client.v1.charges.list_async()).data) == 1


async def test_the_same_seed_gives_the_same_ids(tmp_path: Path) -> None:
    """Two sandboxes with one seed answer the same calls with the same ids; keys stay their own."""
    found, keys = [], []
    for name in ("a", "b"):
        async with running(Options(tmp_path / name, seed="s")) as one:
            keys.append(one.keys.stripe_secret_key)
            async with _client(one.keys.stripe_secret_key, one.url) as (client, _):
                made = await client.v1.payment_intents.create_async(_CHARGE)
                found.append((made.id, made.client_secret, made.latest_charge))
    assert found[0] == found[1]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("faults", {"kind": "nonsense", "path": "/"}),
        ("faults", {"kind": "down", "path": "("}),
        ("faults", {"kind": "down"}),
        ("settings", {"nonsense": 1}),
        ("settings", {"webhook_duplicates": "many"}),
        ("clock", {"advance_seconds": -1}),
        ("clock", {}),
        ("deliveries/release", {"order": "upwards"}),
        ("deliveries/send", {"event": "evt_none"}),
        ("disputes", {"charge": "ch_none"}),
    ],
)
async def test_a_wrong_order_is_refused(
    http: aiohttp.ClientSession, path: str, given: dict[str, Any]
) -> None:
    """400 with a text; the sandbox goes on unchanged."""
    async with http.post(f"/sandbox/{path}", json=given) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["message"]
    async with http.get("/sandbox/state") as answer:
        state = await answer.json()
    assert (state["faults"], state["settings"]) == ([], {})


async def test_controls_need_the_key(http: aiohttp.ClientSession) -> None:
    """A page in a browser cannot pull them."""
    async with http.get("/sandbox/state", headers={"Authorization": "Bearer x"}) as answer:
        assert answer.status == 401
