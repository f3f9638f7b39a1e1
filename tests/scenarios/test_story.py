"""The story that `make demo` tells, as a test."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from farebox_cli.demo.narration import Narrator
from farebox_cli.demo.story import tell

pytestmark = pytest.mark.timeout(600)


async def test_the_whole_story_holds_and_leaves_no_key_behind(tmp_path: Path) -> None:
    """Every claim of the demo holds, and no file of the installation contains the text of a key.

    That covers PostgreSQL's data and write-ahead log, Redis' append-only file, the gateway's state, the usage
    log, the archives and the logs of every process. The key is read from the `curl` line at the story's end.
    """
    home, told = tmp_path / "home", io.StringIO()
    narrator = Narrator(Console(file=told, highlight=False, soft_wrap=True, width=200))
    status = await tell(home, stay=False, narrator=narrator)
    assert narrator.failures == [], told.getvalue()
    assert status == 0
    assert narrator.checks > 20

    shown = re.search(r"fbx_live_[a-z0-9]{10}_[a-z0-9]{10}_(\w{38})'", told.getvalue())
    assert shown is not None, "the story ends with a ready curl line"
    secret = shown[1].encode()
    assert [path for path in home.rglob("*") if path.is_file() and secret in path.read_bytes()] == []
