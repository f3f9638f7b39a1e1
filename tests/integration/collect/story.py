"""Usage logs as a gateway writes them, and a count of them that shares no code with the collector."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from farebox import ids
from farebox.db import Database
from farebox.organizations.model import Organization
from farebox.plans.model import PlanVersion
from farebox.subscriptions.model import Subscription

START = datetime(2026, 11, 21, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
GARBAGE = (
    b"",
    b"garbage",
    b"{}",
    b'{"v":1}',
    b"\xff\xfe\x00",
    b'{"v":1,"ts":"x"}',
    b"[1,2]",
    b'127.0.0.1 - - "GET /"',
)


@dataclass(slots=True)
class Stream:
    """One worker of a gateway, giving out its numbers."""

    node: str = "gw-1"
    boot: str = "boot1"
    worker: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def line(self, **members: Any) -> bytes:
        """Return the next line, with these members set otherwise (None leaves one out)."""
        number = next(self._numbers)
        said: dict[str, Any] = {
            "v": 1,
            "ts": START_MS + number,
            "node": self.node,
            "boot": self.boot,
            "worker": self.worker,
            "seq": number,
            "rid": f"{number:032x}",
            "env": "live",
            "org": "orgaaaaaaa",
            "key": "keyaaaaaaa",
            "sub": "subaaaaaaa",
            "group": "starter-1",
            "route": "messages",
            "method": "POST",
            "path": "/v1/messages/send",
            "status": 200,
            "outcome": "served",
            "units": 1,
            "in": 192,
            "out": 793,
            "us": 1530,
            "up_us": 1010,
            "ip": "203.0.113.7",
            "ua": "curl/8",
            **members,
        }
        kept = {name: value for name, value in said.items() if value is not None}
        return json.dumps(kept, separators=(",", ":")).encode() + b"\n"

    def lines(self, count: int, **members: Any) -> list[bytes]:
        """Return several lines alike."""
        return [self.line(**members) for _ in range(count)]


def mixed_lines(chance: random.Random, streams: list[Stream], count: int) -> list[bytes]:
    """Return lines of all outcomes, for several organizations, with units of all sizes."""
    lines = []
    for _ in range(count):
        stream = chance.choice(streams)
        kind = chance.random()
        org = chance.choice(("orgaaaaaaa", "orgbbbbbbb", "unknownorg"))
        if kind < 0.7:
            lines.append(
                stream.line(org=org, units=chance.randint(0, 9), route=chance.choice(("a", "b", None)))
            )
        elif kind < 0.8:
            lines.append(stream.line(org=org, status=429, outcome="rate_limited"))
        elif kind < 0.9:
            nobody = dict.fromkeys(("env", "org", "key", "sub", "group"))
            lines.append(stream.line(**nobody, status=401, outcome="unauthorized"))
        else:
            lines.append(stream.line(org=org, env="test", ua='say "hello"'))
    return lines


@dataclass(frozen=True, slots=True)
class Count:
    """What a log comes to: requests and units by organization, outcome and status."""

    requests: Counter[tuple[str, str, int]]
    units: Counter[tuple[str, str, int]]


def recount(lines: Iterable[bytes]) -> Count:
    """Count whole lines by plain means: each (stream, number) once, garbage not at all."""
    seen = set()
    requests: Counter[tuple[str, str, int]] = Counter()
    units: Counter[tuple[str, str, int]] = Counter()
    for line in lines:
        try:
            said = json.loads(line)
            identity = (said["node"], said["boot"], said["worker"], said["seq"])
            key = (said.get("org", ""), said["outcome"], said["status"])
        except (ValueError, KeyError, TypeError):
            continue
        if identity in seen:
            continue
        seen.add(identity)
        requests[key] += 1
        units[key] += said["units"]
    return Count(requests, +units)


async def counted(database: Database) -> Count:
    """Return what the rollups hold, in the same form."""
    async with database.transaction() as session:
        rows = await session.execute(
            text(
                "SELECT d.org, d.outcome, d.status, sum(r.requests) AS requests, sum(r.units) AS units "
                "FROM usage_rollups r JOIN usage_dimensions d ON d.id = r.dimension_id GROUP BY 1, 2, 3"
            )
        )
        requests: Counter[tuple[str, str, int]] = Counter()
        units: Counter[tuple[str, str, int]] = Counter()
        for row in rows:
            requests[row.org, row.outcome, row.status] = int(row.requests)
            units[row.org, row.outcome, row.status] = int(row.units)
    return Count(requests, +units)


async def fetch(database: Database, statement: str, **values: Any) -> list[Any]:
    """Return the rows of a query."""
    async with database.transaction() as session:
        return list((await session.execute(text(statement), values)).all())


async def plant_organization(database: Database, org: str, *subs: str) -> Organization:
    """Make an organization with ended subscriptions of these public ids."""
    async with database.transaction() as session:
        version = (await session.execute(PlanVersion.__table__.select().limit(1))).first()
        assert version is not None
        organization = Organization(id=ids.uuid7(), public_id=org, name=org, test_mode=True)
        session.add(organization)
        await session.flush()
        for sub in subs:
            session.add(
                Subscription(
                    id=ids.uuid7(),
                    organization_id=organization.id,
                    public_id=sub,
                    plan_version_id=version.id,
                    state="ended",
                    time_zone="UTC",
                    started_at=START,
                    ended_at=START,
                )
            )
        await session.flush()
    return organization


def write(path: Path, lines: Iterable[bytes], *, mode: str = "ab") -> None:
    """Append lines to a file, as one write."""
    with path.open(mode) as file:
        file.write(b"".join(lines))
