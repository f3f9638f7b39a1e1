"""The environment of a command: what is exported, and below it what `farebox up` wrote into its folder.

So every `farebox` command that is run in the folder of an installation finds it without any exports. The file
holds lines that a shell can source too.
"""

import shlex
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

import click

from farebox_cli.private_files import write_private

DEFAULT_HOME: Final = Path(".farebox")
_HEAD: Final = """\
# Written by `farebox up` at each start; every `farebox` command in this folder reads it.
# Do not edit: export a variable instead, it wins over its line here. This file holds secrets.
"""
_GIVEN: Final = "# Exported when it was started:\n"
_ADOPTED: Final = "FAREBOX_ADOPTED"
_NO_SETTINGS: Final = frozenset({_ADOPTED, "FAREBOX_HOME"})

pass_settings = click.pass_obj
"""Hands a command the process's settings (`farebox.settings.Settings`) as its first argument."""


def home_of(environ: Mapping[str, str]) -> Path:
    """The folder of the installation: FAREBOX_HOME, else `.farebox` here."""
    return Path(environ.get("FAREBOX_HOME") or DEFAULT_HOME)


def env_file(home: Path) -> Path:
    """The file with URLs and secrets, mode 0600."""
    return home / "env"


def adopt(environ: MutableMapping[str, str]) -> None:
    """Add what the installation's file has and `environ` has not. What is exported wins."""
    recorded = read(env_file(home_of(environ)))
    adopted = {name: value for name, value in recorded.items() if name not in environ}
    environ.update(adopted)
    environ[_ADOPTED] = " ".join(adopted)


def given(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The settings that a person exported: neither adopted from the file nor sourced from our part of it."""
    ours, _ = _parts(env_file(home))
    adopted = environ.get(_ADOPTED, "").split()
    return {
        name: value
        for name, value in environ.items()
        if name.startswith("FAREBOX_")
        and name not in _NO_SETTINGS
        and name not in adopted
        and ours.get(name) != value
    }


def read(path: Path) -> dict[str, str]:
    """The variables in the file; none when there is no file. Lines that are no assignment are passed over."""
    ours, theirs = _parts(path)
    return {**ours, **theirs}


def write(path: Path, ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Replace the file: what we chose, then what a person gave. Its mode is 0600 from the first byte."""
    write_private(path, _HEAD + _lines(ours) + _GIVEN + _lines(theirs))


def _parts(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    try:
        ours, _, theirs = path.read_text().partition(_GIVEN)
    except (FileNotFoundError, NotADirectoryError):
        return {}, {}
    return _assignments(ours), _assignments(theirs)


def _assignments(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # an unclosed quote: the file was edited by hand
            continue
        name, equals, value = words[0].partition("=") if len(words) == 1 else ("", "", "")
        if equals and name.isidentifier():
            found[name] = value
    return found


def _lines(variables: Mapping[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
