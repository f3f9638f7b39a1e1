"""The invoices of tests/golden/invoices, worked by hand there, derived again from the lines beside them."""

import json
from pathlib import Path

import pytest

from farebox_cli.verify.report import verify

HERE = Path(__file__).parent / "invoices"


@pytest.mark.parametrize(
    ("name", "files", "total"),
    [("november", ["usage.log"], 34_81), ("december", ["usage.log", "late.log"], 33_31)],
)
def test_the_invoice_is_what_was_worked_by_hand(name: str, files: list[str], total: int) -> None:
    """Equal to the cent, from the files alone."""
    path = HERE / f"{name}.json"
    assert json.loads(path.read_text())["invoice"]["total_minor"] == total
    report = verify(path, [HERE / file for file in files])
    assert report.exit_code == 0, "\n".join(report.as_text())
