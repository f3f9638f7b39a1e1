"""An organization that lives ahead of the wall: the public API, its test clock, and the worker's own jobs."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api, Person

from farebox.clock import ManualClock
from farebox.db import Database
from farebox.organizations import test_clock
from farebox.settings import Settings
from farebox_worker import billing
from farebox_worker.subscriptions import due

SUBSCRIPTION = "/billing/subscription"
_READ_FOR_GOOD = "INSERT INTO nodes (code, read_to_end_at) VALUES ('gw-1', '2100-01-01T00:00:00Z')"


@dataclass(slots=True)
class Life:
    """One organization with its owner. `used` counts requests by what became of them."""

    api: Api
    worker: Database
    clock: ManualClock
    settings: Settings
    person: Person
    organization: UUID
    key: str
    used: Counter[str] = field(default_factory=Counter)
    planted: int = 0

    @classmethod
    async def begun(
        cls, api: Api, worker: Database, clock: ManualClock, settings: Settings, person: Person
    ) -> "Life":
        """Put the owner's organization into test mode and register a node that has read everything."""
        organization = await planting.organization_uuid(worker, person)
        key = (await api.post("/keys", {"name": "n", "environment": "test"}, by=person)).data["id"]
        async with worker.transaction() as session:
            await session.execute(
                text("UPDATE organizations SET test_mode = true WHERE id = :id"), {"id": organization}
            )
            await session.execute(text(_READ_FOR_GOOD))
        return cls(api, worker, clock, settings, person, organization, key)

    async def to(self, instant: str) -> None:
        """Move its time there, let what is due happen, and close what has ended."""
        target = datetime.fromisoformat(instant).replace(tzinfo=UTC)
        async with self.worker.transaction() as session:
            await test_clock.advance(session, self.organization, to=target, clock=self.clock)
        self.clock.advance(timedelta(milliseconds=1))
        await due.run(self.worker, self.clock)
        report = await billing.run(self.worker, self.settings, self.clock)
        assert report.failures == []

    async def now(self) -> datetime:
        """Its own present."""
        async with self.worker.transaction() as session:
            return (await test_clock.time_of(session, self.organization)).at(self.clock.now())

    async def use(self, requests: int, *, outcome: str = "served", status: int = 200) -> None:
        """Count requests in its present quarter hour."""
        self.planted += 1
        await planting.usage(
            self.worker, self.organization, await self.now(), key=self.key, requests=requests,
            route=f"r{self.planted}", outcome=outcome, status=status,
        )  # fmt: skip
        self.used[outcome] += requests

    async def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """Ask something of the subscription and return what it then is."""
        reply = await self.api.call(method, SUBSCRIPTION + path, by=self.person, json=body or {})
        assert reply.status < 300, reply.body
        return reply.data

    async def state(self) -> tuple[str, str]:
        """Plan and state."""
        shown = (await self.api.get(SUBSCRIPTION, by=self.person)).data
        return shown["plan"]["code"], shown["state"]

    async def invoices(self) -> list[dict[str, Any]]:
        """Every invoice with its lines, the oldest period first."""
        listed = (await self.api.get("/billing/history?limit=100", by=self.person)).data["items"]
        shown = [
            (await self.api.get(f"/billing/invoices/{each['id']}", by=self.person)).data for each in listed
        ]
        return sorted(shown, key=lambda each: (each["period_start"], each["period_end"]))
