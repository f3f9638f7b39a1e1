"""What docs/products.md shows is so: its file is sound, and its schema is the one that the code reads by."""

import json
import re
from pathlib import Path

from jsonschema import Draft202012Validator

from farebox.products.documents import load, read_document, schema

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "products.md").read_text(encoding="utf-8")
SCHEMA = DOCS / "farebox-file.schema.json"


def test_the_examples_are_sound_and_meet_the_schema() -> None:
    """Each file on the page is read without a problem, by the code and by the published schema."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    for block in blocks:
        read_document(block)
        assert list(validator.iter_errors(load(block).value)) == []


def test_the_schema_is_the_one_that_files_are_read_by() -> None:
    """The published schema is made from the models, field by field."""
    assert json.loads(SCHEMA.read_text()) == schema(), (
        "run: farebox lint --schema > docs/farebox-file.schema.json"
    )


def test_the_schema_refuses_what_the_code_refuses() -> None:
    """A misspelled field, a missing one and a wrong type are found by an editor already."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    wrong: object
    for wrong in (
        {"route": []},
        {"routes": [{"code": "r", "upstream": "u"}]},
        {"upstreams": [{"code": "u", "nodes": [{"address": "h:1", "weight": "3"}]}]},
        {"routes": [{"code": "r", "upstream": "u", "paths": ["v1"]}]},
    ):
        assert list(validator.iter_errors(wrong)), wrong
