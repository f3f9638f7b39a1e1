"""How the demo speaks: chapters, the requests it makes, what came back, and what it checked.

Knows nothing of the story; it prints, and remembers what did not hold.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

MAX_BODY_CHARACTERS = 600


class StoryFailedError(Exception):
    """A check of the story did not hold, and what follows would make no sense."""


class Narrator:
    """Prints to a terminal or a pipe, and collects the checks that failed."""

    def __init__(self, console: Console | None = None) -> None:
        """Speak to `console`, or to standard output."""
        self._console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.failures: list[str] = []
        self.checks = 0
        self.chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.chapters += 1
        self._console.print(f"\n[bold cyan]{self.chapters}. {escape(title)}[/]")

    def say(self, text: str) -> None:
        """Say a sentence."""
        self._console.print(f"   {escape(text)}")

    def command(self, arguments: Sequence[str]) -> None:
        """Show a command line that is about to run."""
        self._console.print(f"   [bold]$ {escape(' '.join(arguments))}[/]")

    def request(self, method: str, url: str, *, headers: Mapping[str, str], body: object = None) -> None:
        """Show a request: method, address, the headers that matter and the body."""
        shown = "".join(f" [dim]{escape(f'{name}: {value}')}[/]" for name, value in headers.items())
        tail = f" {escape(_compact(body))}" if body is not None else ""
        self._console.print(f"   [bold]→ {method} {escape(url)}[/]{shown}{tail}")

    def response(self, status: int, *, headers: Mapping[str, str], body: object) -> None:
        """Show an answer: status, the headers that matter and the body."""
        colour = "green" if status < 400 else "yellow" if status < 500 else "red"
        shown = "".join(f" [dim]{escape(f'{name}: {value}')}[/]" for name, value in headers.items())
        self._console.print(f"   [{colour}]← {status}[/]{shown} {escape(_compact(body))}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a small table."""
        table = Table(*columns, box=None, padding=(0, 2), pad_edge=False)
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        self._console.print("")
        for line in self._lines(table):
            self._console.print(f"   {line}", markup=False)
        self._console.print("")

    def check(self, holds: bool, claim: str, *, found: object = None) -> None:
        """State a claim and whether it holds; a claim that does not makes the demo exit non-zero."""
        self.checks += 1
        if holds:
            self._console.print(f"   [green]✓[/] {escape(claim)}")
            return
        text = claim if found is None else f"{claim} (found: {found})"
        self.failures.append(text)
        self._console.print(f"   [bold red]✗ {escape(text)}[/]")

    def require(self, holds: bool, claim: str, *, found: object = None) -> None:
        """State a claim without which the story cannot go on. Raises `StoryFailedError`."""
        self.check(holds, claim, found=found)
        if not holds:
            raise StoryFailedError(claim)

    def _lines(self, table: Table) -> list[str]:
        with self._console.capture() as capture:
            self._console.print(table)
        return capture.get().rstrip("\n").splitlines()


def _compact(body: object) -> str:
    text = body if isinstance(body, str) else json.dumps(body, separators=(", ", ": "), ensure_ascii=False)
    return text if len(text) <= MAX_BODY_CHARACTERS else text[:MAX_BODY_CHARACTERS] + " …"


def shorten_key(text: str) -> str:
    """Show enough of an API key to recognise it; terminals are logged."""
    return f"{text[:24]}…{text[-4:]}"


def pick(headers: Mapping[str, str], names: Sequence[str]) -> dict[str, Any]:
    """Return the named headers that are present."""
    return {name: headers[name] for name in names if name in headers}
