"""`farebox simulate` over lines that were truly collected: money by hand, refusals by hand, coverage told."""

import asyncio
import json
import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.integration.collect.story import Stream, plant_organization, write

from farebox.clock import SystemClock
from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox_worker.collect.once import collect_once

START = datetime(2026, 3, 1, tzinfo=UTC)
FROM, TO = "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"
PLAN: dict[str, Any] = {
    "code": "what-if",
    "name": "What if",
    "charges": [
        {"code": "base", "model": "flat", "description": "Base", "amount": "5.00"},
        {
            "code": "requests", "model": "per_unit", "description": "Requests beyond 100",
            "included": "100", "unit_price": "0.02",
        },
    ],
    "limits": [{"name": "minute", "requests": 10, "window": 60}],
    "quota": {"units": 100, "kind": "soft"},
}  # fmt: skip


def at(day: int, second: float = 0) -> int:
    """A time in March, in Unix milliseconds."""
    return round((START + timedelta(days=day - 1, seconds=second)).timestamp() * 1000)


async def simulate(urls: DatabaseUrls, tmp_path: Path, plan: Any, *more: str) -> tuple[int, Any, str]:
    """Run the command as a process; gives its exit code, its JSON and its errors."""
    file = tmp_path / "plan.json"
    file.write_text(plan if isinstance(plan, str) else json.dumps(plan))
    bare = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "farebox_cli", "simulate", "--plan", str(file), "--org", "org_orgaaaaaaa",
        "--json", *more,
        env={**bare, "FAREBOX_DATABASE_WORKER_URL": urls.worker, "FAREBOX_HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, json.loads(out) if out else None, err.decode()


async def test_revenue_by_line_and_refusals_by_limit(
    worker: Database, database: DatabaseUrls, tmp_path: Path
) -> None:
    """150 billable units come to 5.00 and 50 times 0.02; a burst of 25 in a minute loses 15 to a limit of 10.

    What was refused then for a limit is demand too, but not billed; a refused key is none; another
    organization's lines and other months are left out; a line that two files hold counts once.
    """
    await plant_organization(worker, "orgaaaaaaa", "subaaaaaaa")
    await plant_organization(worker, "orgbbbbbbb", "subbbbbbbb")
    stream = Stream()
    lines = [stream.line(ts=at(2, number * 120)) for number in range(129)]
    lines += [stream.line(ts=at(5, second / 10)) for second in range(20)]
    lines += [stream.line(ts=at(5, 3 + second), status=429, outcome="rate_limited") for second in range(5)]
    lines += [stream.line(ts=at(6), status=503, outcome="upstream_error")]
    lines += [stream.line(ts=at(7))]
    lines += [
        stream.line(ts=at(8), status=401, outcome="unauthorized", org=None, key=None, sub=None, env=None)
    ]
    lines += [stream.line(ts=at(9), org="orgbbbbbbb", sub="subbbbbbbb")]
    lines += [stream.line(ts=at(32))]
    random.Random(7).shuffle(lines)
    log = tmp_path / "usage.log"
    write(log, lines)
    write(tmp_path / "again.log", lines[:40])
    await collect_once(worker, "gw-1", [log], clock=SystemClock())

    code, found, err = await simulate(
        database, tmp_path, PLAN, "--from", FROM, "--to", TO, "--logs", str(log),
        "--logs", str(tmp_path / "again.log"),
    )  # fmt: skip
    assert code == 0, err
    [period] = found["periods"]
    assert period["quantities"]["units"] == 150
    assert {line["code"]: line["amount"]["minor"] for line in period["lines"]} == {
        "base": 500,
        "requests": 100,
    }
    assert found["total"] == {"currency": "USD", "minor": 600}
    assert found["requests"] == {"metered": 156, "found_in_logs": 156}
    assert found["refused"]["by_limit"] == {"minute": 15}
    assert found["refused"]["overage_units"] == 156 - 15 - 100

    hard = PLAN | {"limits": [], "quota": {"units": 100, "kind": "hard"}}
    code, found, err = await simulate(
        database, tmp_path, hard, "--from", FROM, "--to", TO, "--logs", str(log)
    )
    assert (code, found["refused"]["by_limit"]) == (0, {"quota": 56}), err


async def test_what_is_missing_from_the_logs_is_said(
    worker: Database, database: DatabaseUrls, tmp_path: Path
) -> None:
    """Prices need no raw lines; refusals are counted over those there are, and the answer says how many."""
    await plant_organization(worker, "orgaaaaaaa", "subaaaaaaa")
    stream = Stream()
    log, kept = tmp_path / "usage.log", tmp_path / "kept.log"
    lines = stream.lines(40, ts=at(3))
    write(log, lines)
    write(kept, lines[:30])
    await collect_once(worker, "gw-1", [log], clock=SystemClock())
    _, found, _ = await simulate(database, tmp_path, PLAN, "--from", FROM, "--to", TO, "--logs", str(kept))
    assert found["requests"] == {"metered": 40, "found_in_logs": 30}
    assert found["refused"]["requests"] == 20
    _, found, _ = await simulate(database, tmp_path, PLAN, "--from", FROM, "--to", TO, "--without-limits")
    assert (found["refused"], found["total"]["minor"]) == (None, 500)


async def test_a_cut_period_owes_its_share_where_the_plan_says_so(
    worker: Database, database: DatabaseUrls, tmp_path: Path
) -> None:
    """Half of a 30-day month of a prorated base of 5.00 is 2.50; the edges are those of the subscription."""
    await plant_organization(worker, "orgaaaaaaa", "subaaaaaaa")
    plan = PLAN | {"charges": [PLAN["charges"][0] | {"prorate": "second"}], "quota": None}
    code, found, err = await simulate(
        database, tmp_path, plan, "--from", "2026-04-01T00:00:00Z", "--to", "2026-05-16T12:00:00Z",
        "--without-limits",
    )  # fmt: skip
    assert code == 0, err
    assert [period["total"]["minor"] for period in found["periods"]] == [500, 250]


async def test_bad_input_names_the_field(worker: Database, database: DatabaseUrls, tmp_path: Path) -> None:
    """A plan that could not be published is not simulated; a stretch begins before its end."""
    await plant_organization(worker, "orgaaaaaaa", "subaaaaaaa")
    wrong = PLAN | {"charges": [{"code": "base", "model": "flat", "description": "Base", "amount": 5}]}
    for plan, more, said in (
        (wrong, ("--from", FROM, "--to", TO), "charges"),
        ("{", ("--from", FROM, "--to", TO), "no JSON"),
        (PLAN, ("--from", TO, "--to", FROM), "--to"),
        (PLAN, ("--from", "yesterday", "--to", TO), "--from"),
        (PLAN, ("--from", FROM, "--to", TO, "--org", "org_unknown000"), "no organization"),
    ):
        code, _, err = await simulate(database, tmp_path, plan, *more)
        assert code in {1, 2}
        assert said in err
        assert "Traceback" not in err
