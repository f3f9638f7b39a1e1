"""The page about the usage line says what the code does."""

import re
from pathlib import Path

from farebox_contract import usage_line
from farebox_contract.usage_line import OUTCOMES

PAGE = (Path(__file__).parents[3] / "docs" / "usage-line.md").read_text()


def test_every_member_has_its_row() -> None:
    """No member of the schema is missing in the table, and none stands there that does not exist."""
    schema = usage_line.json_schema()
    members = schema["$defs"]["UsageLine"]["properties"]
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(members)


def test_the_example_is_a_line() -> None:
    """A reader can paste it."""
    (example,) = re.findall(r"```json\n(.*)\n```", PAGE)
    assert usage_line.decode(example.encode()).has_stream


def test_every_outcome_is_named() -> None:
    """In the words of the contract."""
    assert all(f"`{outcome}`" in PAGE for outcome in OUTCOMES)
