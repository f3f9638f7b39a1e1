"""What the pages tell a reader to type exists: commands, options, make targets, settings."""

import functools
import json
import re
import shlex
from pathlib import Path

import click
import pytest

from farebox.settings import Settings
from farebox_cli.__main__ import cli
from farebox_gateway.edge.settings import EdgeSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def named(path: Path) -> str:
    """Show a path as it stands in the project."""
    return path.relative_to(ROOT).as_posix()


def typed(page: Path, program: str) -> list[list[str]]:
    """Every command line of `program` on a page, in fenced blocks and between backticks, as words."""
    text = page.read_text()
    fenced = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(rf"`((?:\.venv/bin/)?{program} [^`]+)`", text)
    found = []
    for line in lines:
        bare = line.strip().removeprefix(".venv/bin/")
        if bare.startswith(f"{program} "):
            found.append(
                shlex.split(bare.partition("#")[0].replace("…", "").replace("|", " "), posix=True)[1:]
            )
    return found


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """Walk from `farebox` to the command that the words name; return it and the words behind it."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        following = command.get_command(context, words[0])
        assert following is not None, f"there is no command `farebox … {words[0]}`"
        command, words = following, words[1:]
        context = click.Context(command, parent=context)
    return command, words


@functools.cache
def variables_in_the_code() -> frozenset[str]:
    """Every environment variable of ours that code, tests or configuration name, prefixes expanded."""
    folders = ("control-plane", "gateway", "plugins", "sync-worker", "tests", ".ci")
    files = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".lua", ".yaml"}
    ]
    found = {name for path in files for name in re.findall(r"FAREBOX_[A-Z_]*[A-Z]", path.read_text())}
    edge = {f"FAREBOX_EDGE_{name.upper()}" for name in EdgeSettings.__annotations__}
    return frozenset(found | edge)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_farebox_command_on_a_page_exists_with_its_options(page: Path) -> None:
    """A command that was renamed, or an option that never was, is found here and not by a reader."""
    for words in typed(page, "farebox"):
        command, rest = resolve(words)
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for word in rest:
            option = word.partition("=")[0]
            if re.fullmatch(r"--[a-z][a-z-]*", option):
                assert option in known | {"--help"}, f"`farebox {' '.join(words)}`: no option {option}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_target_on_a_page_exists(page: Path) -> None:
    """The Makefile has what the pages name."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in typed(page, "make"):
        assert words[0] in targets, f"{named(page)} names `make {words[0]}`"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_setting_on_a_page_exists(page: Path) -> None:
    """A setting that is spelled wrong is silently nothing, so the pages are held to the code."""
    known = {f"FAREBOX_{name.upper()}" for name in Settings.model_fields} | variables_in_the_code()
    for name in re.findall(r"\bFAREBOX_[A-Z_]*[A-Z]\b", page.read_text()):
        assert name in known, f"{named(page)} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_json_example_on_a_page_can_be_read(page: Path) -> None:
    """An example that is copied must parse; each line of a log is an example of its own."""
    for block in re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        try:
            json.loads(block)
        except ValueError:
            for line in filter(None, block.splitlines()):
                json.loads(line)
