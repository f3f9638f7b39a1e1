"""The house is where its picture says, and its doors open: packages, commands, the Makefile, what CI runs."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from farebox_cli.registry import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOUSES = (
    "control-plane/farebox",
    "gateway/farebox_gateway",
    "plugins/farebox_contract",
    "sync-worker/farebox_worker",
)
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "lib", "shared"}
TARGETS = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_what_is_built_is_what_the_arrows_hold() -> None:
    """A package that is shipped but unknown to import-linter could import anything."""
    built = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    held = PYPROJECT["tool"]["importlinter"]["root_packages"]
    assert sorted(Path(package).name for package in built) == sorted(held)
    assert all((ROOT / package / "__init__.py").is_file() for package in built)


@pytest.mark.parametrize("house", HOUSES)
def test_each_package_says_what_it_owns(house: str) -> None:
    """A noun's README says what it owns and what it refuses to know, before anyone reads its code."""
    nouns = [folder.parent for folder in (ROOT / house).glob("*/model.py")]
    for folder in (*nouns, *([ROOT / house] if house != "control-plane/farebox" else [])):
        assert (folder / "README.md").is_file(), f"{folder.relative_to(ROOT)} has no README.md"


def test_no_module_is_named_for_nothing() -> None:
    """`utils` is where things go whose concept nobody has found: a module is named for one."""
    named = [
        path.relative_to(ROOT)
        for house in (*HOUSES, "control-plane/farebox_cli", "tests")
        for path in (ROOT / house).rglob("*")
        if path.stem in NAMELESS and "__pycache__" not in path.parts
    ]
    assert named == []


def test_no_two_packages_hide_each_other() -> None:
    """A folder with Python in it and no __init__.py is found by accident or not at all."""
    for house in (*HOUSES, "control-plane/farebox_cli"):
        for path in (ROOT / house).rglob("*.py"):
            if "versions" not in path.parts:
                assert (path.parent / "__init__.py").is_file(), (
                    f"{path.parent.relative_to(ROOT)} has no __init__.py"
                )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_a_module_of_its_group(name: str) -> None:
    """Whoever looks for a command's code finds it below `farebox_cli/commands`, under its group's name."""
    module = COMMANDS[name].target.partition(":")[0]
    assert module.startswith("farebox_cli.commands.")
    assert (ROOT / "control-plane" / Path(*module.split("."))).with_suffix(".py").is_file()


def test_the_readmes_commands_exist() -> None:
    """A newcomer types what the README shows; each `make` target and each `farebox` command is there."""
    readme = (ROOT / "README.md").read_text()
    assert set(re.findall(r"\bmake ([a-z]+)\b", readme)) <= set(TARGETS)
    assert set(re.findall(r"\bfarebox ([a-z]+)\b(?=[^\n]*`)", readme)) - set(COMMANDS) == set()


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_can_be_made(target: str) -> None:
    """`make -n` understands every target that `make help` lists."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_continuous_integration_runs_what_people_run() -> None:
    """The workflow calls `.ci/run`, which calls the README's test command; there is no second way to test."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert re.findall(r"run: (.+)", workflow) == [".ci/run"]
    assert 'python-version: "3.11"' in workflow
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec make test")
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in ("run", "install"))


@pytest.mark.parametrize("script", [".ci/run", ".ci/install"])
def test_the_scripts_are_understood_by_their_shell(script: str) -> None:
    """A syntax error in a branch that is rarely taken shows here, not on a newcomer's machine."""
    shell = (ROOT / script).read_text().splitlines()[0].rpartition("/")[2].rpartition(" ")[2]
    done = subprocess.run([shell, "-n", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
