"""The declarative file and the database: what differs is shown and changed, and nothing else is touched."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from sqlalchemy import text

from farebox.db import Database
from farebox.migrations import DatabaseUrls
from farebox.products import applying, service
from farebox.products.documents import DocumentError, read_document
from farebox.products.offers import RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox_cli.__main__ import run

FILE = """\
upstreams:
  - code: api
    nodes: [{address: "10.0.0.1:80"}]
products:
  - {code: chat, name: Chat, upstream: api}
routes:
  - {code: messages, product: chat, paths: [/v1/messages/*]}
plans:
  - code: gold
    name: Gold
    charges: [{code: base, model: flat, description: Gold, amount: "9.00"}]
    quota: {units: 1000, kind: soft}
"""
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest_asyncio.fixture
async def worker(database: DatabaseUrls) -> AsyncIterator[Database]:
    """The database as the worker's role."""
    opened = Database(database.worker, pool_size=4)
    yield opened
    await opened.close()


async def apply(worker: Database, text_: str, *, prune: bool = False) -> list[str]:
    """Apply a file; returns the plan's lines."""
    async with worker.transaction() as session:
        changes = await applying.apply(session, *read_document(text_), prune=prune, now=NOW)
    return [str(change) for change in changes]


async def revision(worker: Database) -> int:
    """Return how often the gateways were told."""
    async with worker.transaction() as session:
        return int(await session.scalar(text("SELECT max(catalogue_revision) FROM gateways")) or 0)


async def test_apply_touches_only_what_differs(
    worker: Database,
) -> None:
    """The plan names what is added, then nothing, then what was changed; gateways hear of each once."""
    before = await revision(worker)
    made = ["+ upstream api", "+ product chat", "+ route messages", "+ plan gold"]
    assert await apply(worker, FILE) == made
    told = await revision(worker)
    assert told > before
    assert await apply(worker, FILE) == []
    assert await revision(worker) == told
    changed = FILE.replace("10.0.0.1", "10.0.0.2").replace("9.00", "9.50")
    assert await apply(worker, changed) == ["~ upstream api: nodes", "~ plan gold: charges"]
    async with worker.transaction() as session:
        rows = await session.scalars(
            text("SELECT code FROM plan_versions WHERE code LIKE 'gold-%' ORDER BY 1")
        )
        assert list(rows) == ["gold-1", "gold-2"]


async def test_prune_deletes_only_what_a_file_of_this_owner_made(worker: Database) -> None:
    """What was made by hand, or by another file, stays; without prune everything stays."""
    async with worker.transaction() as session:
        await service.put(session, UpstreamSpec.simple("by-hand", {"h:1": 1}))
    await apply(worker, 'owner: other\nupstreams: [{code: theirs, nodes: [{address: "h:1"}]}]')
    await apply(worker, FILE)
    assert await apply(worker, "version: 1") == []
    pruned = ["- route messages", "- product chat", "- upstream api"]
    assert await apply(worker, "version: 1", prune=True) == pruned
    async with worker.transaction() as session:
        left = {each.spec.code for each in await service.everything(session, UpstreamSpec)}
    assert {"by-hand", "theirs"} <= left
    assert "api" not in left


async def test_what_would_not_hold_together_changes_nothing(worker: Database) -> None:
    """A file that leads nowhere, prunes what a hand-made route needs, or takes another file's, is refused."""
    with pytest.raises(DocumentError) as refused:
        await apply(worker, FILE.replace("product: chat", "product: chatt"))
    assert str(refused.value.problems[0]).startswith("7: routes.0.product: product 'chatt' is neither")
    await apply(worker, FILE)
    async with worker.transaction() as session:
        await service.put(session, RouteSpec(code="by-hand", upstream="api", paths=["/h"]))
    with pytest.raises(DocumentError, match="route by-hand"):
        await apply(worker, "version: 1", prune=True)
    with pytest.raises(DocumentError, match="made by the file with owner 'file'"):
        await apply(worker, "owner: other\n" + FILE.replace("10.0.0.1", "10.9.9.9"))
    assert await apply(worker, FILE) == []


async def test_a_dump_applied_changes_nothing(worker: Database) -> None:
    """What dump writes is a sound file, and says exactly what stands."""
    await apply(worker, FILE)
    async with worker.transaction() as session:
        found = await applying.dump(session)
    assert await apply(worker, yaml.safe_dump(found)) == []


async def test_two_applies_at_once_end_as_one_of_them(worker: Database) -> None:
    """Files applied at the same time wait for each other; each plan is made on what the other left."""
    other = FILE.replace("10.0.0.1", "10.0.0.2")
    plans = await asyncio.gather(*(apply(worker, each) for each in (FILE, other) * 3))
    assert sum(line.startswith("+ upstream") for plan in plans for line in plan) == 1
    assert sum(line == "+ plan gold" for plan in plans for line in plan) == 1


async def test_the_command(
    worker: Database,
    database: DatabaseUrls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """lint, diff, apply and dump over one file: exit codes, the plan on standard output, lines in errors."""
    monkeypatch.setenv("FAREBOX_DATABASE_WORKER_URL", database.worker)
    monkeypatch.setenv("FAREBOX_HOME", str(tmp_path))
    file = tmp_path / "catalogue.yaml"
    file.write_text(FILE)

    async def farebox(*argv: Any) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, [str(each) for each in argv])
        written = capsys.readouterr()
        return code, written.out, written.err

    assert (await farebox("lint", file))[0] == 0
    code, out, _ = await farebox("diff", "-f", file)
    assert (code, out.splitlines()[0]) == (1, "+ upstream api")
    code, out, _ = await farebox("apply", "-f", file, "--dry-run")
    assert (code, len(out.splitlines())) == (0, 4)
    assert (await farebox("diff", "-f", file))[0] == 1
    assert (await farebox("apply", "-f", file))[:2] == (code, out)
    assert (await farebox("diff", "-f", file))[:2] == (0, "")
    code, out, _ = await farebox("dump")
    file.write_text(out)
    assert (await farebox("diff", "-f", file))[:2] == (0, "")
    file.write_text(FILE.replace("weight", "weigth").replace("paths", "path"))
    code, _, err = await farebox("lint", file)
    assert code == 2
    assert f"{file}:7: routes.0.paths: is required; add it" in err
    code, out, _ = await farebox("route", "show", "messages")
    assert (code, '"product": "chat"' in out) == (0, True)
    code, _, err = await farebox("upstream", "remove", "api")
    assert code == 1
    assert "product chat" in err
    for argv, said in (
        (("--percentage", "5"), "has no release"),
        (("--next", "--back"), "Give one of"),
    ):
        assert said in (await farebox("route", "release", "messages", *argv))[2]
    assert (await farebox("upstream", "put", "new", "--node", "10.0.0.9:80=2"))[0] == 0
    definition = tmp_path / "route.yaml"
    definition.write_text("product: chat\npaths: [/v1/messages/*]\nrelease: {upstream: new}\n")
    assert (await farebox("route", "put", "messages", "-f", definition))[0] == 0
    for share in ("1 percent", "5 percent", "25 percent", "100 percent", "100 percent"):
        assert share in (await farebox("route", "release", "messages", "--next"))[2]
    assert (await farebox("route", "release", "messages", "--finish"))[0] == 0
    code, out, _ = await farebox("route", "show", "messages")
    assert ('"upstream": "new"' in out, "release" in out) == (True, False)
