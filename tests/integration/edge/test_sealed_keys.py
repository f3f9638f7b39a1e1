"""`key-auth` keys in the state folder: nobody who has the folder has a key."""

from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.gateway.harness import ADMIN_KEY, Admin, running_edge, start_edge

KEY = "a-plain-key-that-must-not-be-found"


async def _put(admin: Admin) -> None:
    await admin.put("/consumers", {"username": "jack"})
    await admin.put("/consumers/jack/credentials/k1", {"plugins": {"key-auth": {"key": KEY}}})


async def test_no_key_is_in_the_folder(tmp_path: Path) -> None:
    """Neither journal nor snapshot holds a key; after a restart it works and the Admin API shows it."""
    folder = tmp_path / "edge"
    for restart in range(3):
        async with running_edge(folder, COMPACT_BYTES="4096") as gateway, ClientSession() as session:
            admin = Admin(gateway, session)
            if not restart:
                await _put(admin)
            stored = (await admin.get("/consumers/jack/credentials/k1")).value
            assert stored["plugins"]["key-auth"]["key"] == KEY
            for number in range(60):
                await admin.put(f"/upstreams/u{number}", {"nodes": {"127.0.0.1:1": 1}, "desc": "x" * 200})
        files = [path for path in (folder / "state").rglob("*") if path.is_file()]
        assert any(path.name.startswith("snapshot") for path in files)
        assert not [path for path in files if KEY.encode() in path.read_bytes()]


async def test_another_secret_opens_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With another secret the gateway does not start, says how it would, and loses nothing."""
    async with running_edge(tmp_path, DATA_KEY="one") as gateway, ClientSession() as session:
        await _put(Admin(gateway, session))
    with pytest.raises(Exception, match=r".*"):
        await start_edge(tmp_path, DATA_KEY="two")
    assert "FAREBOX_EDGE_DATA_KEY" in capfd.readouterr().err
    async with running_edge(tmp_path, DATA_KEY="one") as gateway, ClientSession() as session:
        found = await Admin(gateway, session).get("/consumers/jack/credentials/k1")
        assert found.value["plugins"]["key-auth"]["key"] == KEY
    async with running_edge(tmp_path / "other", ADMIN_KEY=ADMIN_KEY) as gateway, ClientSession() as session:
        assert (await Admin(gateway, session).get("/consumers/jack")).status == 404
