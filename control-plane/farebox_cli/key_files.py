"""Files of keys that were issued elsewhere: CSV or JSON Lines, read into what can be imported.

A row gives `sha256`, or `key` with the text, which is hashed here and goes no further. Knows no database.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from farebox.keys.admin_views import ForeignKeyInput
from farebox_cli.errors import CommandError, Exit
from farebox_contract.imported_keys import importable
from farebox_contract.keys import digest

LISTS: Final = ("scopes", "cidrs")
SEPARATOR: Final = ";"


def read(path: Path) -> list[ForeignKeyInput]:
    """Read every row. Raises `CommandError` naming the line, the field and the remedy; never a key's text."""
    rows = _json_lines(path) if path.suffix in {".jsonl", ".ndjson"} else _csv(path)
    keys = [_checked(row, line) for line, row in rows]
    if not keys:
        raise CommandError(f"{path} has no keys.", exit_code=Exit.USAGE)
    return keys


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        for row in reader:
            members: dict[str, Any] = {}
            for name, value in row.items():
                if name is None or value is None:
                    raise _wrong(reader.line_num, "it has more or fewer columns than the heading")
                if value.strip():
                    members[name.strip()] = _listed(value) if name.strip() in LISTS else value.strip()
            yield reader.line_num, members


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(SEPARATOR) if part.strip()]


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise _wrong(number, "it is no JSON object")
            yield number, row


def _checked(row: Mapping[str, Any], line: int) -> ForeignKeyInput:
    members = dict(row)
    text = members.pop("key", None)
    if text is not None:
        if "sha256" in members:
            raise _wrong(line, "give either key or sha256")
        if not isinstance(text, str) or not importable(text):
            raise _wrong(line, "key: expected 16 to 128 printable ASCII characters that are no Farebox key")
        members["sha256"] = digest(text)
        members.setdefault("hint", text[-4:])
    try:
        return ForeignKeyInput.model_validate(members, strict=False)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _wrong(line, f"{field}: {first['msg']}") from None


def _wrong(line: int, problem: str) -> CommandError:
    return CommandError(f"Line {line}: {problem}. Nothing was imported.", exit_code=Exit.USAGE)
