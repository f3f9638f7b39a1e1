"""An operator of the tests, made in the database."""

from sqlalchemy import text
from tests.support.api_client import PASSWORD, Api, Person

from farebox.db import Database


async def operator(api: Api, worker: Database, email: str = "root@example.com") -> Person:
    """Somebody who signed up and was made an operator."""
    made = await api.sign_up(email, "Operators")
    async with worker.transaction() as session:
        await session.execute(
            text("UPDATE users SET is_operator = true WHERE email = :email"), {"email": email}
        )
    login = await api.post("/auth/login", {"email": email, "password": PASSWORD})
    return Person(email, made.user_id, made.organization_id, login.data["access_token"])
