"""The API over HTTP, and an operator."""

import asyncpg
import pytest_asyncio
from tests.support.api_client import Api, Person
from tests.support.web import api, clock, settings, worker

from farebox.migrations import DatabaseUrls

__all__ = ["api", "clock", "settings", "worker"]


@pytest_asyncio.fixture
async def operator(api: Api, database: DatabaseUrls) -> Person:
    """Somebody who runs the installation."""
    person = await api.sign_up("root@example.com", "The house")
    owner = await asyncpg.connect(database.owner)
    await owner.execute("UPDATE users SET is_operator = true WHERE id = $1", person.user_uuid)
    await owner.close()
    return await api.log_in(person.email, person.organization_id)
