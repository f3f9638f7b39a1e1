"""PostgreSQL: reachable, safe roles, current schema, an honest clock; and in it, sync and metering."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import migrations
from farebox.db import Database, UnsafeRoleError
from farebox.gateways.model import Gateway, GatewayOrganization
from farebox.organizations.model import Organization
from farebox.outbox import OutboxRow
from farebox.settings import Settings
from farebox.usage.model import Node
from farebox_cli.doctor.findings import Finding, good, one_line, unknown, wrong

LONGEST_WAIT: Final = timedelta(seconds=60)
LARGEST_SKEW: Final = timedelta(seconds=2)
_ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {"database_url": migrations.APP, "database_worker_url": migrations.WORKER}
)
_PATIENCE_SECONDS: Final = 5.0


async def examine_database(settings: Settings) -> AsyncIterator[Finding]:
    """Every check that needs PostgreSQL; those that build on a failed one are unknown."""
    reachable = True
    for field in _ROLES:
        finding = await _role(settings, field)
        reachable = reachable and finding.verdict == "good"
        yield finding
    if not reachable:
        for what in ("migrations", "clock", "sync", "metering"):
            yield unknown(what, "the database cannot be used; see above")
        return
    worker_url = settings.database_worker_url.get_secret_value()
    pending = await asyncio.to_thread(migrations.pending, worker_url)
    if pending:
        yield wrong("migrations", "the schema lacks migrations", "Run `farebox migrate`.")
        for what in ("sync", "metering"):
            yield unknown(what, "the schema is not up to date; see above")
        return
    yield good("migrations", "the schema is up to date")
    database = Database(worker_url, pool_size=1)
    try:
        async with database.transaction() as session:
            yield await _clock(session)
            for finding in [*await _sync(session), *await _outbox(session), *await _metering(session)]:
                yield finding
    finally:
        await database.close()


async def _role(settings: Settings, field: str) -> Finding:
    """The URL leads to a database, as a role that row security holds."""
    what, variable = f"database as {_ROLES[field]}", f"FAREBOX_{field.upper()}"
    url = getattr(settings, field).get_secret_value()
    if not url:
        remedy = (
            "Run `farebox up`, or export it for a PostgreSQL of your own (`farebox migrate --superuser-url`)."
        )
        return wrong(what, f"{variable} is not set", remedy)
    database = Database(url, pool_size=1)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await database.refuse_unsafe_role()
            async with database.engine.connect() as connection:
                version = await connection.scalar(text("SELECT current_setting('server_version')"))
                role = await connection.scalar(text("SELECT current_user"))
    except UnsafeRoleError as error:
        return wrong(
            what, one_line(error), f"Set {variable} to a role that is neither, such as {_ROLES[field]}."
        )
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        cause = error.__cause__ or error
        return wrong(what, f"cannot be used: {one_line(cause)}", f"Is PostgreSQL running? Check {variable}.")
    finally:
        await database.close()
    return good(what, f"PostgreSQL {version}, role {role}: neither superuser nor past row security")


async def _clock(session: AsyncSession) -> Finding:
    """Ours and the database's: periods and limits are told by both."""
    there = await session.scalar(text("SELECT clock_timestamp()"))
    skew = abs(datetime.now(UTC) - there) if isinstance(there, datetime) else timedelta.max
    if skew > LARGEST_SKEW:
        return wrong(
            "clock",
            f"this machine and PostgreSQL's differ by {skew.total_seconds():.1f} s",
            "Run a time service (chrony, systemd-timesyncd) on both.",
        )
    return good("clock", f"within {skew.total_seconds() * 1000:.0f} ms of PostgreSQL's")


async def _sync(session: AsyncSession) -> list[Finding]:
    """What was sold, and how far each gateway has got with it."""
    gateways = (await session.scalars(select(Gateway).order_by(Gateway.code))).all()
    findings = [finding for gateway in gateways for finding in await _gateway(session, gateway)]
    return findings or [unknown("sync", "no gateway is registered yet")]


async def _gateway(session: AsyncSession, gateway: Gateway) -> list[Finding]:
    what = f"sync of gateway {gateway.code}"
    applied = (
        select(GatewayOrganization).where(GatewayOrganization.gateway_id == gateway.id).subquery("applied")
    )
    late = func.coalesce(applied.c.applied_revision, 0) < Organization.edge_revision
    failed = applied.c.attempts > 0
    behind, failures, error = (
        await session.execute(
            select(
                func.count().filter(late),
                func.count().filter(failed),
                func.max(applied.c.last_error).filter(failed),
            )
            .select_from(Organization)
            .outerjoin(applied, applied.c.organization_id == Organization.id)
        )
    ).one()
    findings: list[Finding] = []
    if gateway.catalogue_error:
        found = f"routes and plans: {gateway.catalogue_error}"
        findings.append(wrong(what, found, "Mend that, then run `farebox sync all`."))
    if failures:
        found = f"{failures} organizations cannot be brought there, such as: {error}"
        remedy = "Mend that, then run `farebox sync all`; `farebox sync diff` shows the rest."
        findings.append(wrong(what, found, remedy))
    if findings:
        return findings
    behind += max(gateway.catalogue_revision - gateway.applied_catalogue_revision, 0)
    return [good(what, f"{behind} changes under way" if behind else "up to date")]


async def _outbox(session: AsyncSession) -> list[Finding]:
    """Work that waits: the age of the oldest piece says whether a worker is at it."""
    now = func.clock_timestamp()
    waiting = select(func.count(), now - func.min(OutboxRow.available_at)).where(
        OutboxRow.done_at.is_(None), OutboxRow.available_at <= now
    )
    count, age = (await session.execute(waiting)).one()
    if count and age > LONGEST_WAIT:
        return [
            wrong(
                "worker",
                f"{count} pieces of work wait, the oldest for {age.total_seconds():.0f} s",
                "Is `farebox worker` running, and Redis? Its log names what fails.",
            )
        ]
    return [good("worker", f"{count} pieces of work wait, none for long")]


async def _metering(session: AsyncSession) -> list[Finding]:
    """How long ago each node's log was read to its end."""
    nodes = (await session.scalars(select(Node).order_by(Node.code))).all()
    if not nodes:
        return [unknown("metering", "no gateway node is registered yet")]
    now = await session.scalar(select(func.clock_timestamp()))
    return [_node(node, now) for node in nodes]


def _node(node: Node, now: Any) -> Finding:
    what = f"metering of node {node.code}"
    if node.state == "retired":
        return good(what, f"retired: {node.retired_note}")
    start = f"Start `farebox collect` on the node; if it is dead for good, `farebox node retire {node.code}`."
    if node.last_error:
        return wrong(what, node.last_error, "The collector goes on by itself once that is mended.")
    if node.read_to_end_at is None:
        return wrong(what, "its log has never been read to its end", start)
    age = now - node.read_to_end_at
    if age > LONGEST_WAIT:
        found = (
            f"its log was last read to its end {age.total_seconds():.0f} s ago; no period closes meanwhile"
        )
        return wrong(what, found, start)
    return good(what, f"read to its end {age.total_seconds():.0f} s ago")
