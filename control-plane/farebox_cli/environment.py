"""Reads the settings, once, for `__main__`: the environment first, then the file that `farebox up` wrote.

So every `farebox` command that is run in the folder of an installation finds it without any exports.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from farebox.settings import Settings

DEFAULT_HOME = Path(".farebox")
pass_settings = click.make_pass_decorator(Settings)


def home_of(environ: Mapping[str, str]) -> Path:
    """The folder of the installation: FAREBOX_HOME, else `.farebox` here."""
    return Path(environ.get("FAREBOX_HOME") or DEFAULT_HOME)


def env_file(home: Path) -> Path:
    """The file with URLs and secrets, mode 0600."""
    return home / "env"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of this process. A variable of the environment wins over the file's line for it."""
    return Settings(_env_file=env_file(home_of(environ)))
