"""Log to committed rollups, beside a raw COPY of the same file into a table without an index.

    python tests/bench/collect_speed.py [--lines 1000000] [--ten-million] [--organizations 2000] [--rounds 3]
                                        [--core 0] [--json FILE]

Everything runs on one core: the collector, its PostgreSQL, and the client of the COPY. The two take turns,
and the best round of each counts, because the rest of the machine disturbs both alike. `ratio` compares the
seconds that passed, `cpu_ratio` the processor's seconds of all processes together, which neighbours disturb
less. The collector runs in a process of its own, so its peak memory is its own. COPY reads the lines as one
text column: the least work that puts them into a table at all.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

LINE: Final = (
    '{"v":1,"ts":%d,"node":"gw-1","boot":"m2x9k4","worker":0,"seq":%d,"rid":"%032x","env":"live","org":"%s",'
    '"key":"%s","sub":"%s","group":"starter-1","route":"%s","method":"POST","path":"/v1/messages/send",'
    '"status":%d,"outcome":"%s","units":1,"in":%d,"out":%d,"us":%d,"up_us":%d,"ip":"203.0.113.7",'
    '"ua":"curl/8"}\n'
)
FIRST_TS: Final = 1_795_219_218_123
LINES_A_SECOND: Final = 2_000
ROUTES: Final = ("messages", "search", "users", "files")
PLANT: Final = """
WITH named AS (SELECT * FROM unnest($1::text[], $2::text[]) AS n(org, sub)),
made AS (
    INSERT INTO organizations (id, public_id, name) SELECT gen_random_uuid(), org, org FROM named
    RETURNING id, public_id
)
INSERT INTO subscriptions (id, organization_id, public_id, plan_version_id, time_zone, started_at)
SELECT gen_random_uuid(), made.id, named.sub, v.id, 'UTC', '2026-11-01Z'
FROM made JOIN named ON named.org = made.public_id JOIN plan_versions v ON v.code = 'starter-1'
"""
COLLECT: Final = """
import asyncio, json, resource, sys, time
from pathlib import Path
from farebox.clock import SystemClock
from farebox.db import Database
from farebox_worker.collect.once import collect_once
async def main(url, path):
    database = Database(url)
    async with database.transaction():
        pass
    begun, used = time.perf_counter(), time.process_time()
    report = await collect_once(database, "gw-1", [Path(path)], clock=SystemClock())
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    await database.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "own_cpu": used, "new": report.outcome.new, "megabytes": peak}))
asyncio.run(main(*sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """One run's result. Seconds are of the best round; `ratio` is COPY's seconds over the collector's."""

    lines: int
    bytes_a_line: float
    organizations: int
    rollups: int
    copy_seconds: float
    copy_cpu_seconds: float
    collect_seconds: float
    collect_cpu_seconds: float
    collect_own_cpu_seconds: float
    copy_lines_a_second: int
    collect_lines_a_second: int
    ratio: float
    cpu_ratio: float
    peak_megabytes: float


def owners(organizations: int) -> list[tuple[str, ...]]:
    """Return the public ids of each organization, its key and its subscription."""
    chance = random.Random(2)
    return [
        tuple("".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10)) for _ in range(3))
        for _ in range(organizations)
    ]


def usage_lines(count: int, organizations: int) -> Iterator[str]:
    """Yield lines of one busy worker: few organizations much used and many little, one in twenty refused."""
    chance = random.Random(1)
    names = owners(organizations)
    for number in range(1, count + 1):
        owner = names[min(int(chance.expovariate(6 / organizations)), organizations - 1)]
        status, outcome = (429, "rate_limited") if chance.random() < 0.05 else (200, "served")
        yield LINE % (
            FIRST_TS + number * 1_000 // LINES_A_SECOND,
            number,
            chance.getrandbits(128),
            *owner,
            ROUTES[chance.getrandbits(2)],
            status,
            outcome,
            100 + chance.getrandbits(9),
            200 + chance.getrandbits(11),
            1_000 + chance.getrandbits(12),
            500 + chance.getrandbits(10),
        )


def cpu_seconds(postmaster: int) -> float:
    """Return the processor's seconds of a PostgreSQL so far: its living processes' and its ended ones'."""
    while True:
        before = children(postmaster)
        fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
        if children(postmaster).keys() == before.keys():  # nobody ended in between and was counted twice
            ticks = sum(map(int, fields[11:15])) + sum(before.values())
            return ticks / os.sysconf("SC_CLK_TCK")


def children(postmaster: int) -> dict[str, int]:
    """Return the ticks that each living child has used."""
    used = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[1] == str(postmaster):
            used[stat.parent.name] = sum(map(int, fields[11:13]))
    return used


async def plant(url: str, organizations: int) -> None:
    """Make the organizations and subscriptions that the lines name."""
    connection = await asyncpg.connect(url)
    names = owners(organizations)
    try:
        await connection.execute(PLANT, [name[0] for name in names], [name[2] for name in names])
    finally:
        await connection.close()


async def raw_copy(url: str, log: Path, postmaster: int) -> tuple[float, float]:
    """Return the seconds, and the processor's seconds, of one COPY into an empty table."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP TABLE IF EXISTS raw; CREATE TABLE raw (line text)")
        used = time.process_time() + cpu_seconds(postmaster)
        begun = time.perf_counter()
        await connection.copy_to_table("raw", source=log, format="text")
        seconds = time.perf_counter() - begun
        used = time.process_time() + cpu_seconds(postmaster) - used
        await connection.execute("DROP TABLE raw; CHECKPOINT")
    finally:
        await connection.close()
    return seconds, used


def collect(url: str, log: Path, postmaster: int) -> dict[str, Any]:
    """Run the collector over the file, in a process of its own."""
    used = cpu_seconds(postmaster)
    done = subprocess.run([sys.executable, "-c", COLLECT, url, str(log)], stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    result["cpu"] = result["own_cpu"] + cpu_seconds(postmaster) - used
    return result


async def measure(log: Path, folder: Path, *, lines: int, organizations: int, rounds: int) -> Figures:
    """Let the two take turns on a PostgreSQL of their own."""
    from farebox import migrations
    from farebox_cli.servers import embedded_postgres

    copies: list[tuple[float, float]] = []
    runs: list[dict[str, Any]] = []
    async with embedded_postgres(folder, settings={"max_wal_size": "4GB"}) as server:
        passwords = dict.fromkeys(migrations.ROLES, "bench")
        for turn in range(rounds):
            urls = await asyncio.to_thread(
                migrations.bootstrap, server.superuser_url, database=f"turn{turn}", passwords=passwords
            )
            await asyncio.to_thread(migrations.upgrade, urls.owner)
            await plant(urls.owner, organizations)
            copies.append(await raw_copy(server.superuser_url, log, server.pid))
            runs.append(await asyncio.to_thread(collect, urls.worker, log, server.pid))
            if runs[-1]["new"] != lines:
                raise RuntimeError(f"{runs[-1]['new']} of {lines} lines were counted")
        rollups = await _rollups(urls.owner)
    best = min(runs, key=lambda run: float(run["seconds"]))
    copy_seconds, copy_cpu = (min(values) for values in zip(*copies, strict=True))
    cpu = min(run["cpu"] for run in runs)
    return Figures(
        lines=lines,
        bytes_a_line=round(log.stat().st_size / lines, 1),
        organizations=organizations,
        rollups=rollups,
        copy_seconds=round(copy_seconds, 3),
        copy_cpu_seconds=round(copy_cpu, 3),
        collect_seconds=round(best["seconds"], 3),
        collect_cpu_seconds=round(cpu, 3),
        collect_own_cpu_seconds=round(best["own_cpu"], 3),
        copy_lines_a_second=round(lines / copy_seconds),
        collect_lines_a_second=round(lines / best["seconds"]),
        ratio=round(copy_seconds / best["seconds"], 3),
        cpu_ratio=round(copy_cpu / cpu, 3),
        peak_megabytes=round(max(run["megabytes"] for run in runs), 1),
    )


async def _rollups(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM usage_rollups"))
    finally:
        await connection.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Generate the log, measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--ten-million", action="store_true", help="the size at which peak memory is stated")
    parser.add_argument("--organizations", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    lines = 10_000_000 if arguments.ten_million else arguments.lines
    os.sched_setaffinity(0, {arguments.core})  # inherited by PostgreSQL and by the collector
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "bench.log"
        with log.open("w") as file:
            file.writelines(usage_lines(lines, arguments.organizations))
        cluster = Path(folder) / "postgres"
        cluster.mkdir()
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - PostgreSQL may run as another user
        figures = asyncio.run(
            measure(log, cluster, lines=lines, organizations=arguments.organizations, rounds=arguments.rounds)
        )
    for name, value in asdict(figures).items():
        print(f"{name.replace('_', ' '):<26} {value:>14,}")
    text = json.dumps({"collect_speed": asdict(figures), "core": arguments.core}, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
