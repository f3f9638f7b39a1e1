"""The story that `make demo` tells, as a test."""

import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from farebox.sandbox.stripe.cards import CARDS
from farebox_cli.demo.narration import Narrator
from farebox_cli.demo.story import tell

pytestmark = pytest.mark.timeout(900)
_KEY: Final = rb"fbx_(?:live|test)_[a-z0-9]{10}_[a-z0-9]{10}_[A-Za-z0-9]{38}"


async def test_the_whole_story_holds_and_leaves_no_secret_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every claim of the demo holds, and no file of the installation holds a key or a card number.

    That covers PostgreSQL's data and write-ahead log, Redis' append-only file, the gateway's state, the usage
    log, the archives, the mails and the logs of every process: all but the folder of the payments sandbox,
    which plays the provider. What is exported for another installation does not reach the story's commands.
    """
    monkeypatch.setenv("FAREBOX_DATABASE_WORKER_URL", "postgresql://nobody@127.0.0.1:1/elsewhere")
    home, told = tmp_path / "home", io.StringIO()
    narrator = Narrator(Console(file=told, highlight=False, soft_wrap=True, width=200))
    status = await tell(home, stay=False, narrator=narrator)
    assert narrator.failures == [], told.getvalue()
    assert status == 0
    assert narrator.checks > 60

    last = re.search(r"fbx_live_[a-z0-9]{10}_[a-z0-9]{10}_(\w{38})'", told.getvalue())
    assert last is not None, "the story ends with a ready curl line"
    secrets = re.compile(b"|".join([_KEY, last[1].encode(), *_numbers()]))
    assert secrets.search(last[0].encode()), "what is searched for can be found"
    searched = dict(_contents(home))
    assert {path.relative_to(home).parts[0] for path in searched} >= {
        "postgres", "redis", "usage", "edge", "mail", "logs", "story",
    }  # fmt: skip
    assert [path for path, content in searched.items() if secrets.search(content)] == []
    shown = set(re.findall(r"(?<!\d)\d{4} ?\d{4} ?\d{4} ?\d{4}(?!\d)", told.getvalue()))
    assert not {text.replace(" ", "") for text in shown} & {card.number for card in CARDS}


def _numbers() -> Iterator[bytes]:
    """Every test card's number, as it is and in groups of four."""
    for card in CARDS:
        yield card.number.encode()
        yield " ".join(card.number[place : place + 4] for place in range(0, len(card.number), 4)).encode()


def _contents(home: Path) -> Iterator[tuple[Path, bytes]]:
    for path in home.rglob("*"):
        if path.is_file() and path.relative_to(home).parts[0] != "payments-sandbox":
            content = path.read_bytes()
            yield path, gzip.decompress(content) if path.suffix == ".gz" else content
