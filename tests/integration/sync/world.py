"""A control plane, a gateway and a worker between them: all real, on this machine, one of each for a test."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import ClientSession
from sqlalchemy import text
from tests.gateway.harness import Gateway, Upstream
from tests.support.processes import launch_and_wait_for_line

from farebox import ids
from farebox.clock import SystemClock
from farebox.db import Database
from farebox.gateways import service as gateways
from farebox.keys import service as keys
from farebox.migrations import DatabaseUrls
from farebox.organizations import service as organizations
from farebox.products import service as products
from farebox.products.offers import RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox.settings import Settings
from farebox_contract.keys import IssuedKey
from farebox_contract.node_status import EDGE_PATH
from farebox_gateway.client import AdminClient, open_admin
from farebox_worker import app
from farebox_worker.advisory import try_lock
from farebox_worker.sync import full_pass
from farebox_worker.sync.full_pass import Report
from farebox_worker.sync.leader import lock_name, opened
from farebox_worker.targets import targets

PATIENCE = 30.0
FOREIGN_STATUS_URL = os.environ.get("FAREBOX_TEST_GATEWAY_STATUS_URL", "")


@dataclass(slots=True)
class Customer:
    """An organization and its owner."""

    id: UUID
    public_id: str
    owner: UUID


@dataclass(slots=True)
class World:
    """The control plane's verbs as its own role, and a look at the gateway."""

    urls: DatabaseUrls
    redis_url: str
    gateway: Gateway
    upstream: Upstream
    http: ClientSession
    app: Database
    worker: Database
    clock: SystemClock = field(default_factory=SystemClock)
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """What a worker of this world is told."""
        given: dict[str, Any] = {
            "database_worker_url": self.urls.worker,
            "database_pool_size": 5,
            "redis_url": self.redis_url,
            "gateway_admin_url": self.gateway.admin,
            "gateway_admin_key": self.gateway.admin_key,
            "gateway_data_url": self.gateway.data,
            "gateway_status_url": self.status_url,
            "gateway_timeout_seconds": 1.0,
            "billing_interval_seconds": 3600,
            **self.overrides,
        }
        return Settings(_env_file=None, **given)

    @property
    def status_url(self) -> str:
        """Where the gateway's node says what it enforces; of a foreign one the environment may name it."""
        return FOREIGN_STATUS_URL if self.gateway.foreign else self.gateway.admin + EDGE_PATH

    @property
    def variables(self) -> dict[str, str]:
        """The same as the environment of a command."""
        settings = self.settings
        variables = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
        for name in settings.model_fields_set:
            value = getattr(settings, name)
            secret = getattr(value, "get_secret_value", None)
            variables[f"FAREBOX_{name.upper()}"] = str(secret() if secret else value)
        return variables

    # -- what people do

    async def found(self, name: str = "Customer") -> Customer:
        """Make a user and his organization."""
        owner = ids.uuid7()
        async with self.app.transaction() as session:
            await session.execute(
                text(
                    "INSERT INTO users (id, email, password_hash, email_verified_at) "
                    "VALUES (:id, :email, 'x', now())"
                ),
                {"id": owner, "email": f"{owner}@example.com"},
            )
            made = await organizations.found(
                session, owner=owner, name=name, time_zone="UTC", metadata={}, now=self.clock.now()
            )
        return Customer(made.id, made.public_id, owner)

    async def issue(self, customer: Customer, **more: Any) -> IssuedKey:
        """Issue a key."""
        given: dict[str, Any] = {"environment": "live", "expires_at": None, **more}
        async with self.app.transaction(organization=customer.id) as session:
            issued = await keys.issue(
                session, customer.id, creator=customer.owner, name="key", metadata={}, prefix="fbx",
                now=self.clock.now(), **given,
            )  # fmt: skip
        return issued.key

    async def revoke(self, customer: Customer, key: IssuedKey) -> None:
        """Revoke a key."""
        async with self.app.transaction(organization=customer.id) as session:
            await keys.revoke(
                session, customer.id, key.name.key, revoker=customer.owner, may_revoke_all=True,
                now=self.clock.now(),
            )  # fmt: skip

    async def set_state(self, customer: Customer, state: str) -> None:
        """Suspend, close or reinstate an organization."""
        async with self.app.transaction(organization=customer.id) as session:
            await session.execute(
                text("UPDATE organizations SET state = :state WHERE id = :id"),
                {"state": state, "id": customer.id},
            )
            await gateways.touch(session, customer.id)

    async def sell(self, code: str = "api", **more: Any) -> None:
        """Put a route to the world's upstream."""
        async with self.worker.transaction() as session:
            await products.put(session, UpstreamSpec.simple(code, self.upstream.node))
            given = {"upstream": code, "paths": [f"/{code}/*"], **more}
            await products.put(session, RouteSpec.model_validate({"code": code, **given}))

    # -- what is to be seen

    async def call(self, key: str | None, path: str = "/api/x") -> int:
        """Call the API through the gateway; returns the status."""
        headers = {} if key is None else {"X-API-Key": key}
        async with self.http.get(self.gateway.data + path, headers=headers) as response:
            await response.read()
            return response.status

    async def writes(self) -> int:
        """The gateway's own count of the writes that it has taken; of a foreign one, of those to be seen."""
        if self.gateway.foreign:
            return await self._newest_index()
        async with self.http.get(self.gateway.admin + "/farebox/status") as response:
            return int((await response.json())["revision"])

    async def _newest_index(self) -> int:
        newest = 0
        for kind in ("routes", "consumers", "consumer_groups", "upstreams"):
            url = f"{self.gateway.admin}/apisix/admin/{kind}"
            async with self.http.get(url, headers={"X-API-KEY": self.gateway.admin_key}) as response:
                items = (await response.json())["list"]
            ours = [each for each in items if each["value"].get("labels", {}).get("managed-by") == "farebox"]
            newest = max([newest, *(each["modifiedIndex"] for each in ours)])
        return newest

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Run a query as the worker's role."""
        async with self.worker.transaction() as session:
            result = await (await session.connection()).execute(text(query), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    async def enforced(self, customer: Customer) -> bool:
        """Whether the control plane says that the customer's newest revision is enforced."""
        async with self.app.transaction(organization=customer.id) as session:
            applied = await gateways.enforced_revision(session, customer.id)
            wanted = await session.scalar(
                text("SELECT edge_revision FROM organizations WHERE id = :id"), {"id": customer.id}
            )
        return applied == int(wanted or -1)

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(PATIENCE):
            while not await holds():
                await asyncio.sleep(0.01)
        assert await holds(), what

    async def settled(self, *customers: Customer) -> None:
        """Wait until these customers' newest revisions are enforced."""
        for customer in customers:
            await self.until(lambda customer=customer: self.enforced(customer), "enforced")  # type: ignore[misc]

    async def open_rows(self) -> int:
        """How many rows of the gateways are open in the outbox."""
        [row] = await self.rows(
            "SELECT count(*) AS n FROM outbox WHERE done_at IS NULL AND job LIKE 'gateway.%'"
        )
        return int(row["n"])

    # -- who works

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[AdminClient]:
        """The Admin API, for what other people do to the gateway."""
        async with open_admin(self.gateway.admin, key=self.gateway.admin_key, timeout=5) as client:
            yield client

    async def full_pass(self, *, scope: str = "all", overwrite_newer: bool = False) -> Report:
        """Run one pass in this process, as `farebox sync` does where no worker runs."""
        [target] = targets(self.settings)
        stop = asyncio.Event()
        async with try_lock(self.urls.worker, lock_name(target.code)) as lock:
            assert lock is not None, "somebody else holds the gateway's lock"
            async with opened(target, self.worker, self.clock, lock, writer="test", stop=stop) as (
                reconciler,
                _,
            ):
                reconciler.overwrite_newer = overwrite_newer
                return await full_pass.run(reconciler, scope=scope, stop=stop)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run a whole worker in this process."""
        stop = asyncio.Event()
        running = asyncio.create_task(app.run(self.settings, self.clock, stop=stop))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE):
                await running

    async def start_worker(self) -> asyncio.subprocess.Process:
        """Start a worker as a process of its own, to be killed."""
        process, line = await launch_and_wait_for_line(
            [sys.executable, "-m", "farebox_cli", "worker"], env=self.variables
        )
        assert '"ready"' in line
        return process
