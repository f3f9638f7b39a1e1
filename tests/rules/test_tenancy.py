"""Tenants are apart, in the code and in the database: shown by walking every route, and by breaking the wall.

The walk takes its routes from the router, calls each as one tenant with the other's ids over real HTTP, and
then looks from inside a transaction of the application's role at every tenant table.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from tests.support import planting, planting_dunning, planting_papers, planting_payments
from tests.support.api_client import Api, Person
from tests.support.web import api, clock, settings, worker

from farebox import openapi, schemas
from farebox.app import ENDPOINTS, make_app
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.endpoints import PREFIX, Access, Endpoint
from farebox.migrations import DatabaseUrls
from farebox.settings import Settings
from farebox.tables import metadata

__all__ = ["api", "clock", "settings", "worker"]

TENANT_TABLES = sorted(table.name for table in metadata.sorted_tables if "organization_id" in table.columns)
UNKNOWN = {"key": "key_0000000000", "org": "org_0000000000", "inv": "inv_00000000000000000000000000"}
UNKNOWN |= {prefix: f"{prefix}_{'0' * 26}" for prefix in ("pay", "card", "dun", "cn")}
DOCUMENT = openapi.document(ENDPOINTS, server="http://test")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A person with an organization that has something of everything."""

    person: Person
    organization: UUID
    ids: Mapping[str, str]


async def settle(api: Api, worker: Database, clock: ManualClock, email: str) -> Tenant:
    """Sign up and own a row in every tenant table."""
    person = await api.sign_up(email, f"Organization of {email}")
    organization = await planting.organization_uuid(worker, person)
    key = (await api.post("/keys", {"name": "one", "environment": "test"}, by=person)).data["id"]
    invoice = await planting.invoice(worker, organization, number=email, at=clock.now(), minor=100)
    await planting.usage(worker, organization, clock.now(), key=key, requests=5)
    await planting.enforced(worker, organization, 1)
    await planting.clock_offset(worker, organization, clock.now())
    await planting.spending(worker, organization, clock.now())
    await planting.usage_correction(worker, organization, clock.now())
    await planting.billing(worker, organization, clock.now())
    paid = await planting_payments.payments(worker, organization, clock.now())
    paid["dun"] = await planting_dunning.dunning(worker, organization, clock.now())
    paid["cn"] = await planting_papers.credit_note(worker, organization, number=f"{email}-2", at=clock.now())
    return Tenant(person, organization, {"key": key, "inv": invoice, "org": person.organization_id, **paid})


async def walk(api: Api, app_url: str, mine: Tenant, theirs: Tenant) -> list[str]:
    """Return everything that is wrong: what of theirs could be reached, and what of mine could not."""
    found: list[str] = []
    for declared in sorted(ENDPOINTS, key=lambda one: one.method == "DELETE"):
        found += await _walk_endpoint(api, declared, mine, theirs)
    return found + await _look_inside(app_url, mine, theirs)


async def _walk_endpoint(
    api: Api, declared: Endpoint[Any, Any, Any], mine: Tenant, theirs: Tenant
) -> list[str]:
    name = f"{declared.method} {declared.path}"
    by = None if declared.access is Access.PUBLIC else mine.person
    found = []
    if declared.access is Access.OPERATOR:
        status, body = await _send(api, declared, by, {}, mine)
        return [] if status == 403 else [f"{name}: somebody who is no operator is answered {status} {body}"]
    for place, prefix in _places(declared):
        own, foreign, unknown = [
            await _send(api, declared, by, {place: value}, mine)
            for value in (mine.ids[prefix], theirs.ids[prefix], UNKNOWN[prefix])
        ]
        if foreign[0] != 404 or foreign != unknown:
            found.append(f"{name}: {place} of another tenant is answered {foreign}, an unknown one {unknown}")
        if own[0] >= 300:
            found.append(f"{name}: the own {place} is answered {own}")
    if declared.method == "GET" and not _places(declared):
        status, body = await _send(api, declared, by, {}, mine)
        if declared.access is Access.MEMBER and status != 200:
            found.append(f"{name}: a member is answered {status} {body}")
        found += [f"{name}: shows {theirs_id}" for theirs_id in theirs.ids.values() if theirs_id in body]
    return found


def _places(declared: Endpoint[Any, Any, Any]) -> list[tuple[str, str]]:
    """Where an endpoint takes an id: in the path, the query or the body, each with the id's prefix."""
    places = list(declared.identifiers.items())
    for model in (declared.body, declared.query):
        for field, schema in model.model_json_schema().get("properties", {}).items():
            options = [schema, *schema.get("anyOf", [])]
            places += [
                (field, prefix)
                for prefix in UNKNOWN
                if any(str(option.get("pattern", "")).startswith(f"^{prefix}_") for option in options)
            ]
    return places


async def _send(
    api: Api, declared: Endpoint[Any, Any, Any], by: Person | None, values: Mapping[str, str], mine: Tenant
) -> tuple[int, str]:
    path = declared.path
    for variable, prefix in declared.identifiers.items():
        value = values.get(variable) or mine.ids.get(prefix, f"{prefix}_unknown")
        path = path.replace(f"{{{variable}}}", value)
    path = re.sub(r"\{\w+\}", "free-1", path)  # a code of the catalogue, which is nobody's
    query = {name: value for name, value in values.items() if name in declared.query.model_fields}
    body = None
    if declared.method != "GET" and declared.body.model_fields:
        known = DOCUMENT["components"]["schemas"]
        # A model that is taken and shown stands there twice.
        schema = known.get(declared.body.__name__) or known[f"{declared.body.__name__}-Input"]
        body = schemas.sample(schema, known)
        body |= {name: value for name, value in values.items() if name in declared.body.model_fields}
        if declared.path == "/auth/login":
            body |= {"email": mine.person.email, "password": "correct horse battery staple"}
    # What would ask a payment provider is only rehearsed: there is none here, and who may ask is known first.
    rehearsed = {"Dry-Run": "true"} if declared.effect and not declared.begins and by is not None else {}
    reply = await api.call(declared.method, path, by=by, json=body, params=query, headers=rehearsed)
    if isinstance(reply.body, dict):
        reply.body.get("error", {}).pop("request_id", None)
    return reply.status, json.dumps(reply.body)


async def _look_inside(app_url: str, mine: Tenant, theirs: Tenant) -> list[str]:
    found = []
    connection = await asyncpg.connect(app_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT farebox_enter($1, $2)", mine.organization, mine.person.user_uuid)
            for table in [*TENANT_TABLES, "organizations"]:
                column = "id" if table == "organizations" else "organization_id"
                count = f"SELECT count(*) FROM {table} WHERE {column} = $1"
                if await connection.fetchval(count, theirs.organization):
                    found.append(f"{table}: rows of another tenant can be read")
                if not await connection.fetchval(count, mine.organization):
                    found.append(f"{table}: the own rows cannot be read")
    finally:
        await connection.close()
    return found


async def test_the_walk_covers_the_router(settings: Settings) -> None:
    """Every route below /api/v1 is declared, so none can be left out of the walk."""
    routed = {
        (route.method, route.resource.canonical)
        for route in make_app(settings).router.routes()
        if route.resource is not None
        and route.resource.canonical.startswith(PREFIX)
        and route.method != "HEAD"
    }
    assert routed == {(declared.method, PREFIX + declared.path) for declared in ENDPOINTS}


async def test_no_route_reaches_another_tenant(
    api: Api, worker: Database, clock: ManualClock, database: DatabaseUrls
) -> None:
    """Another tenant's id is answered like one that never existed, on every route and in every place."""
    mine = await settle(api, worker, clock, "ada@example.com")
    theirs = await settle(api, worker, clock, "eve@example.com")
    found = await walk(api, database.app, mine, theirs)
    assert found == [], "\n".join(found)


async def test_the_walk_turns_red_when_the_wall_is_broken(
    api: Api, worker: Database, clock: ManualClock, database: DatabaseUrls
) -> None:
    """Whoever drops a table's policy or switches its row security off learns of it from the walk's last part.

    Each table is broken in both ways, looked at from inside as the application, and mended.
    """
    mine = await settle(api, worker, clock, "ada@example.com")
    theirs = await settle(api, worker, clock, "eve@example.com")
    assert await _look_inside(database.app, mine, theirs) == []
    owner = await asyncpg.connect(database.owner)
    try:
        for table in [*TENANT_TABLES, "organizations"]:
            policy = await owner.fetchrow(
                "SELECT qual, with_check FROM pg_policies WHERE tablename = $1 AND policyname = 'tenant'",
                table,
            )
            assert policy is not None, table
            tenant = f"CREATE POLICY tenant ON {table} TO farebox_app USING ({policy['qual']})"
            check = f" WITH CHECK ({policy['with_check']})" if policy["with_check"] else ""
            for breakage, mending in (
                (f"DROP POLICY tenant ON {table}", tenant + check),
                (
                    f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
                    f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
                ),
            ):
                await owner.execute(breakage)
                found = await _look_inside(database.app, mine, theirs)
                assert any(each.startswith(f"{table}:") for each in found), breakage
                await owner.execute(mending)
        assert await _look_inside(database.app, mine, theirs) == []
    finally:
        await owner.close()


async def test_every_tenant_table_is_protected(database: DatabaseUrls) -> None:
    """Row security is forced on each table that carries an organization, with a policy for the app."""
    connection = await asyncpg.connect(database.owner)
    rows = await connection.fetch(
        """
        SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,
               EXISTS (SELECT FROM pg_policies p
                       WHERE p.tablename = c.relname AND 'farebox_app' = ANY(p.roles)) AS policy
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        WHERE relkind = 'r'
        """
    )
    await connection.close()
    protected = {row["relname"] for row in rows if row["forced"] and row["policy"]}
    assert {*TENANT_TABLES, "organizations"} <= protected


async def test_the_application_sees_nothing_before_it_enters(
    database: DatabaseUrls, worker: Database
) -> None:
    """Without an organization entered, no tenant row is visible and none can be written."""
    connection = await asyncpg.connect(database.app)
    for table in TENANT_TABLES:
        if table != "outbox":
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(
            "INSERT INTO organizations (id, public_id, name) VALUES (uuidv7(), 'a', 'a')"
        )
    await connection.close()


def test_the_models_are_the_migrations(database: DatabaseUrls) -> None:
    """What the code believes of the schema is what the migrations made."""
    engine = create_engine(make_url(database.owner).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()
    assert differences == []
