"""A caller of the API in tests: plain HTTP, with the few steps that every story begins with."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp

from farebox import ids
from farebox.db import Database
from farebox.users.model import EmailVerification

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def data(self) -> Any:
        """The data of a success; fails with the whole answer otherwise."""
        assert self.status < 300, (self.status, self.body)
        assert self.body["success"] is True
        return self.body["data"]

    @property
    def code(self) -> str:
        """The code of a refusal; fails with the whole answer otherwise."""
        assert self.status >= 400, (self.status, self.body)
        assert self.body["success"] is False
        return str(self.body["error"]["code"])

    @property
    def fields(self) -> dict[str, str]:
        """The refused fields with what is wrong with each."""
        return {entry["field"]: entry["problem"] for entry in self.body["error"]["details"]["fields"]}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is logged in."""

    email: str
    user_id: str
    organization_id: str
    token: str

    @property
    def user_uuid(self) -> UUID:
        """The user's id as the database has it."""
        return ids.decode("user", self.user_id)


class Api:
    """Calls the API at one address."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.address = address
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connected(cls, address: str) -> AsyncIterator["Api"]:
        """Open a client for the length of the block."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            yield cls(address, session)

    async def call(
        self,
        method: str,
        path: str,
        *,
        by: "Person | None" = None,
        json: Any = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request below /api/v1 (or to a path that begins with `/api` or names another place)."""
        url = self.address + (path if path.startswith("//") else f"/api/v1{path}").replace("//", "/")
        sent = dict(headers or {})
        if by is not None:
            sent["Authorization"] = f"Bearer {by.token}"
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self._session.request(
            method, url, json=json, data=raw, headers=sent, params=params
        ) as response:
            kind = response.content_type
            if kind.endswith("json"):
                body = await response.json(content_type=None)
            elif kind == "application/pdf":
                body = (await response.read()).decode("latin-1")
            else:
                body = await response.text()
            return Reply(response.status, response.headers, body)

    async def get(self, path: str, *, by: "Person | None" = None, **params: str) -> Reply:
        """GET with query parameters."""
        return await self.call("GET", path, by=by, params=params)

    async def post(self, path: str, json: Any = None, *, by: "Person | None" = None, **headers: str) -> Reply:
        """POST with a JSON body; `headers` with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", path, by=by, json=json, headers=named)

    async def sign_up(self, email: str = "ada@example.com", organization: str = "Engines") -> Person:
        """Register and log in."""
        body = {"email": email, "password": PASSWORD, "organization_name": organization, "name": "Ada"}
        registered = (await self.post("/auth/register", body)).data
        return await self.log_in(email, registered["organization"]["id"])

    async def log_in(self, email: str, organization_id: str) -> Person:
        """Log in to an organization."""
        body = {"email": email, "password": PASSWORD, "organization_id": organization_id}
        token = (await self.post("/auth/login", body)).data["access_token"]
        me = await self.call("GET", "/auth/me", headers={"Authorization": f"Bearer {token}"})
        return Person(email, me.data["user"]["id"], organization_id, token)

    async def verify(self, worker: Database, person: Person, *, now: datetime) -> None:
        """Verify a person's e-mail with a token that is planted as the mail job would make it."""
        token = secrets.token_urlsafe(32)
        async with worker.transaction() as session:
            session.add(
                EmailVerification(
                    token_digest=hashlib.sha256(token.encode()).digest(),
                    user_id=person.user_uuid,
                    created_at=now,
                    expires_at=now + timedelta(hours=24),
                )
            )
        assert (await self.post("/auth/verify-email", {"token": token})).data["email_verified"] is True
