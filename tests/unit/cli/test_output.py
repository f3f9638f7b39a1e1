"""Tables for people and JSON for programs, from the same data."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel

from farebox_cli.output import Table, emit


@dataclass(frozen=True, slots=True)
class _Line:
    amount: Decimal
    at: datetime
    key: UUID
    where: Path


class _Model(BaseModel):
    name: str


def test_json_keeps_every_value_exact(capsys: pytest.CaptureFixture[str]) -> None:
    """Decimals, times, ids and models come out as text that loses nothing."""
    line = _Line(Decimal("0.010000000001"), datetime(2026, 11, 1, tzinfo=UTC), UUID(int=1), Path("a/b"))
    emit({"lines": [line], "model": _Model(name="ü")}, as_json=True, tables=())
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        "lines": [
            {
                "amount": "0.010000000001",
                "at": "2026-11-01T00:00:00Z",
                "key": "00000000-0000-0000-0000-000000000001",
                "where": "a/b",
            }
        ],
        "model": {"name": "ü"},
    }


def test_a_table_shows_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that looks like markup is printed, not obeyed; nothing is a dash; numbers have separators."""
    emit(None, as_json=False, tables=Table(("name", "units"), [("[red]Acme[/red]", 15000), ("b", None)]))
    printed = capsys.readouterr().out
    assert "[red]Acme[/red]" in printed
    assert "15,000" in printed
    assert printed.rstrip().endswith("-")


def test_an_empty_table_still_has_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    """No rows: the reader sees what there would be, and the note that says why not."""
    emit([], as_json=False, tables=Table(("node", "lag"), [], note="No nodes yet."))
    printed = capsys.readouterr().out
    assert "node" in printed
    assert "No nodes yet." in printed
