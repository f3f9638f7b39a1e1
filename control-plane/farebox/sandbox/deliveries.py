"""Sends webhooks: signed, again and again until they are taken, over restarts too.

A delivery is `due`, `held` (until it is released), `lost` (on demand), `delivered`, or `failed` (given up).
Stripe signs `t.body` with SHA-256 (https://docs.stripe.com/webhooks#verify-manually), Paystack the body with
SHA-512 (https://paystack.com/docs/payments/webhooks/).
"""

import asyncio
import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Final, Literal

import aiohttp

from farebox.sandbox.store import Obj
from farebox.sandbox.world import World

Signature = Literal["good", "forged", "old"]
MAX_ATTEMPTS: Final = 12
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_OLD_SECONDS: Final = 3600
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends what is due. `first_pause` seconds after a refusal, then twice that, and so on."""

    world: World
    session: aiohttp.ClientSession
    first_pause: float = 1.0

    async def run(self) -> None:
        """Until cancelled: send what is due, then wait for news or for the next one's time."""
        while True:
            self.world.news.clear()
            due = self.world.store.rows(
                "SELECT * FROM deliveries WHERE state = 'due' AND due <= ? ORDER BY due, seq LIMIT ?",
                self.world.machine_clock(),
                _AT_ONCE,
            )
            for delivery in due:
                await self.attempt(delivery)
            if not due:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.world.news.wait(), self._until_next())

    def _until_next(self) -> float:
        soonest = self.world.store.rows("SELECT min(due) AS due FROM deliveries WHERE state = 'due'")[0][
            "due"
        ]
        return 60.0 if soonest is None else max(0.01, soonest - self.world.machine_clock())

    async def attempt(self, delivery: Obj, *, signature: Signature = "good") -> Obj:
        """Send one delivery once and write down how it went: {"status", "error"}."""
        headers = headers_for(delivery, at=int(self.world.machine_clock()), signature=signature)
        status, error = None, None
        try:
            async with self.session.post(
                delivery["url"],
                data=delivery["payload"].encode(),
                headers=headers,
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as failed:
            error = f"{type(failed).__name__}: {failed}"[:300]
        taken = status is not None and 200 <= status < 300
        attempts = delivery["attempts"] + 1
        state = "delivered" if taken else "failed" if attempts >= MAX_ATTEMPTS else "due"
        pause = min(self.first_pause * 2 ** (attempts - 1), 3600.0)
        if signature == "good":
            self.world.store.change(
                "UPDATE deliveries SET state = ?, attempts = ?, last_status = ?, last_error = ?, due = "
                "? WHERE seq = ?",
                state,
                attempts,
                status,
                error,
                self.world.machine_clock() + pause,
                delivery["seq"],
            )
        return {"status": status, "error": error}


def headers_for(delivery: Obj, *, at: int, signature: Signature) -> Mapping[str, str]:
    """The headers of one attempt; a forged one is signed with another secret, an old one an hour ago."""
    secret = delivery["secret"] if signature != "forged" else f"not-{delivery['secret']}"
    body: str = delivery["payload"]
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if delivery["provider"] == "paystack":
        signed = hmac.new(secret.encode(), body.encode(), sha512).hexdigest()
        return {**headers, "x-paystack-signature": signed}
    at = at - _OLD_SECONDS if signature == "old" else at
    signed = hmac.new(secret.encode(), f"{at}.{body}".encode(), sha256).hexdigest()
    return {
        **headers,
        "Stripe-Signature": f"t={at},v1={signed}",
        "User-Agent": "Stripe/1.0 (Farebox sandbox)",
    }
