"""Where the members' words go: one log file each, and the terminal, each line under its member's name."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import click

MAX_LOG_BYTES: Final = 20 * 1024 * 1024
_KEPT_LINES: Final = 20
_COLOURS: Final = (
    "cyan",
    "green",
    "yellow",
    "magenta",
    "blue",
    "bright_cyan",
    "bright_green",
)
_NAME_WIDTH: Final = 9
_COLOUR_CODES: Final = re.compile(rb"\x1b\[[0-9;]*m")

Echo = Callable[[str, str], None]


def silent(_name: str, _line: str) -> None:
    """Print nothing; the log files have it all."""


def to_terminal(name: str, line: str) -> None:
    """Print a line under its member's name, in the member's colour where the terminal has colours."""
    colour = _COLOURS[sum(name.encode()) % len(_COLOURS)]
    click.echo(f"{click.style(f'{name:>{_NAME_WIDTH}} |', fg=colour)} {line}")


class MemberLog:
    """A member's log file. When it is full it becomes `NAME.log.1`, and the file before that is gone."""

    def __init__(self, folder: Path, name: str, *, echo: Echo = silent) -> None:
        self._path = folder / f"{name}.log"
        self._name = name
        self._echo = echo
        self._last: list[str] = []
        self.announced = asyncio.Event()

    @property
    def last_lines(self) -> str:
        """The newest lines, for a message about a member that did not start."""
        return "\n".join(self._last)

    async def follow(self, pipe: IO[bytes]) -> None:
        """Copy everything that comes out of the pipe, line by line, until its other end is closed."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        rest = b""
        try:
            while chunk := await reader.read(64 * 1024):
                *lines, rest = (rest + chunk).split(b"\n")
                self._write(lines)
            if rest:
                self._write([rest])
        finally:
            transport.close()

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        try:
            if self._path.exists() and self._path.stat().st_size > MAX_LOG_BYTES:
                self._path.replace(self._path.with_suffix(".log.1"))
            with self._path.open("ab") as file:
                file.write(_COLOUR_CODES.sub(b"", b"\n".join(lines)) + b"\n")
        except OSError as error:  # a full disk must not stop the member that speaks
            self._say(f"(the log {self._path} cannot be written: {error.strerror})")
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            self._last = [*self._last[-_KEPT_LINES + 1 :], text]
            if _announces(text):
                self.announced.set()
            self._say(text)

    def _say(self, text: str) -> None:
        try:
            self._echo(self._name, text)
        except OSError:  # the terminal, or whatever read our output, is gone; the log file has it all
            self._echo = silent


def _announces(line: str) -> bool:
    """Whether a program says by this line that it is ready: `{"event": "ready", …}`."""
    if not line.startswith("{"):
        return False
    try:
        said = json.loads(line)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("event") == "ready"
