"""What commands print: tables for people, JSON for programs, always from the same data.

Everything that is a result goes to standard output; everything about the run goes to standard error.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. Cells may be any value; None prints as a dash, numbers align right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str | None = None
    note: str | None = None


def json_option(command: F) -> F:
    """Add `--json`, which the function receives as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def emit(data: object, *, as_json: bool, tables: Table | Sequence[Table]) -> None:
    """Print `data` as one JSON document, or `tables` for a person."""
    if as_json:
        print_json(data)
    else:
        print_tables(*([tables] if isinstance(tables, Table) else tables))


def print_json(data: object) -> None:
    """Print one indented JSON document: times RFC 3339, decimals and ids strings, dataclasses objects."""
    encoded = msgspec.json.encode(data, enc_hook=_encode)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")


def print_tables(*tables: Table) -> None:
    """Print tables to standard output, in the terminal's width; in full width when it is no terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    for table in tables:
        rich = RichTable(
            title=table.title, title_justify="left", box=None, pad_edge=False, header_style="bold"
        )
        for index, column in enumerate(table.columns):
            numeric = any(_is_number(row[index]) for row in table.rows)
            rich.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in table.rows:
            rich.add_row(*(escape(_cell(value)) for value in row))
        console.print(rich)
        if table.note is not None:
            console.print(escape(table.note))


def say(text: str) -> None:
    """Tell the person at the terminal something about the run, on standard error; if it is gone, nobody."""
    with suppress(OSError):
        click.echo(text, err=True)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _encode(value: object) -> object:
    """For what msgspec does not know: pydantic models, paths, exact numbers of other kinds."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else str(value)
