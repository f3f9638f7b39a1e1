"""The environment of a command: what is exported, and below it what `farebox up` wrote into its folder.

So every `farebox` command that is run in the folder of an installation finds it without any exports. The file
holds lines that a shell can source too.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from farebox_cli.private_files import write_private

DEFAULT_HOME: Final = Path(".farebox")
_HEAD: Final = """\
# Written by `farebox up` at each start; every `farebox` command in this folder reads it.
# Do not edit: export a variable instead, it wins over its line here. This file holds secrets.
"""


def home_of(environ: Mapping[str, str]) -> Path:
    """The folder of the installation: FAREBOX_HOME, else `.farebox` here."""
    return Path(environ.get("FAREBOX_HOME") or DEFAULT_HOME)


def env_file(home: Path) -> Path:
    """The file with URLs and secrets, mode 0600."""
    return home / "env"


def installed(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that the installation's file adds to `environ`. What is exported wins."""
    recorded = read(env_file(home_of(environ)))
    return {name: value for name, value in recorded.items() if name not in environ}


def given(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The variables that a person set. Those that repeat the file do not count: it may have been sourced."""
    recorded = read(env_file(home))
    return {name: value for name, value in environ.items() if recorded.get(name) != value}


def read(path: Path) -> dict[str, str]:
    """The variables in the file; none when there is no file. Lines that are no assignment are passed over."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
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


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Replace the file. Its mode is 0600 from the first byte."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    write_private(path, _HEAD + "".join(lines))
