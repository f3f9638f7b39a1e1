"""What `farebox` promises about its command line, whichever command runs."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from farebox_cli import environment
from farebox_cli.__main__ import cli, run
from farebox_cli.errors import CommandError, Exit
from farebox_cli.registry import COMMANDS, RUN, Entry


def _with_command(monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    """Register `broken`, a command that runs `body`."""
    module = sys.modules[__name__]

    @click.command
    def broken() -> object:
        assert callable(body)
        return body()

    monkeypatch.setattr(module, "broken", broken, raising=False)
    monkeypatch.setitem(sys.modules, "cli_under_test", module)
    monkeypatch.setattr("farebox_cli.__main__._installed", lambda _name: True)
    monkeypatch.setitem(COMMANDS, "broken", Entry("cli_under_test:broken", RUN, "For this test."))


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No installation in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FAREBOX_HOME", raising=False)


def test_help_lists_every_installed_command_and_imports_none() -> None:
    """`farebox --help` answers without loading the packages that commands need."""
    script = (
        "import sys; from farebox_cli.__main__ import run; code = run(['--help'])\n"
        "heavy = {'sqlalchemy', 'aiohttp', 'polars', 'pydantic', 'redis', 'rich'} & sys.modules.keys()\n"
        "sys.exit(code or len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("up", "doctor", "migrate"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    """Every command that is listed loads, has help of its own, and takes --help without doing anything."""
    outcome = CliRunner().invoke(cli, [name, "--help"])
    assert outcome.exit_code == 0, outcome.output
    assert len(outcome.output.splitlines()) >= 5


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is no command ends with 2 and names the word."""
    assert run(["frobnicate"]) == Exit.USAGE
    assert "frobnicate" in capsys.readouterr().err


def test_a_refusal_is_one_line_and_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a command refuses is told in one line on standard error."""

    def refuse() -> None:
        raise CommandError("There is no such invoice.", exit_code=Exit.PROBLEM)

    _with_command(monkeypatch, refuse)
    assert run(["broken"]) == Exit.PROBLEM
    captured = capsys.readouterr()
    assert captured.err == "Error: There is no such invoice.\n"
    assert captured.out == ""


def test_an_unexpected_error_is_one_line_and_with_debug_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault of ours ends with 70 in one line that says how to see more; --debug shows where it was."""

    def fail() -> None:
        raise LookupError("no\nsuch thing")

    _with_command(monkeypatch, fail)
    assert run(["broken"]) == Exit.INTERNAL
    plain = capsys.readouterr().err
    assert plain.count("\n") == 1
    assert "LookupError: no such thing" in plain
    assert "--debug" in plain
    assert run(["--debug", "broken"]) == Exit.INTERNAL
    assert "Traceback" in capsys.readouterr().err


def test_an_unreachable_database_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused connection ends with 3 and points to `farebox doctor`."""
    import asyncpg

    def refuse() -> None:
        raise asyncpg.InvalidPasswordError('password authentication failed for user "farebox_app"')

    _with_command(monkeypatch, refuse)
    assert run(["broken"]) == Exit.UNREACHABLE
    text = capsys.readouterr().err
    assert "farebox doctor" in text
    assert "farebox_app" in text


def test_a_wrong_setting_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nonsense in a setting ends with 2; the text names the variable and never prints what it holds."""
    _with_command(monkeypatch, lambda: None)
    monkeypatch.setenv("FAREBOX_WEB_PORT", "hunter2")
    assert run(["broken"]) == Exit.USAGE
    text = capsys.readouterr().err
    assert "FAREBOX_WEB_PORT" in text
    assert "hunter2" not in text


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's Ctrl-C is no error and shows no traceback."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    _with_command(monkeypatch, interrupt)
    assert run(["broken"]) == Exit.INTERRUPTED


def test_settings_come_from_the_environment_before_the_file(tmp_path: Path) -> None:
    """A variable of the environment wins over the installation's file; without it the file's value holds."""
    (tmp_path / ".farebox").mkdir()
    recorded = {"FAREBOX_WEB_PORT": "1111", "FAREBOX_MAIL_FROM": "A <a@b.example>"}
    environment.write(tmp_path / ".farebox" / "env", recorded, {"FAREBOX_ISSUER": "Acme"})
    environ = {"FAREBOX_WEB_PORT": "2222"}
    environment.adopt(environ)
    assert environ["FAREBOX_WEB_PORT"] == "2222"
    assert environ["FAREBOX_MAIL_FROM"] == "A <a@b.example>"
    assert environ["FAREBOX_ISSUER"] == "Acme"
    elsewhere = {"FAREBOX_HOME": str(tmp_path / "nothing-here")}
    environment.adopt(elsewhere)
    assert "FAREBOX_MAIL_FROM" not in elsewhere


def test_the_installation_file_is_private_and_a_shell_can_source_it(tmp_path: Path) -> None:
    """Secrets with quotes and spaces come back exact, from us and from `sh`; only the owner may read them."""
    path = tmp_path / "env"
    variables = {"FAREBOX_A": 'it\'s "quoted" $HOME #x', "FAREBOX_B": "", "FAREBOX_C": "ü"}
    environment.write(path, variables, {})
    assert environment.read(path) == variables
    assert path.stat().st_mode & 0o777 == 0o600
    sourced = subprocess.run(
        ["sh", "-c", f'. {path}; printf %s "$FAREBOX_A"'], capture_output=True, text=True, check=True
    )
    assert sourced.stdout == variables["FAREBOX_A"]


def test_a_file_that_was_edited_by_hand_is_read_as_far_as_it_makes_sense(tmp_path: Path) -> None:
    """Lines that are no assignment are passed over, and a missing file is an empty one."""
    path = tmp_path / "env"
    path.write_text("# note\n\nFAREBOX_A=1\nexport nothing here\nFAREBOX_B='open\n=x\n")
    assert environment.read(path) == {"FAREBOX_A": "1"}
    assert environment.read(tmp_path / "none") == {}


def test_only_what_a_person_exported_counts_as_given(tmp_path: Path) -> None:
    """Our own lines do not, adopted or sourced; what was exported at the last start counts if it is again."""
    home = tmp_path / ".farebox"
    home.mkdir()
    environment.write(
        home / "env", {"FAREBOX_A": "1", "FAREBOX_B": "2"}, {"FAREBOX_C": "3", "FAREBOX_D": "4"}
    )
    environ = {"FAREBOX_A": "1", "FAREBOX_B": "changed", "FAREBOX_C": "3", "FAREBOX_HOME": str(home)}
    environment.adopt(environ)
    assert environ["FAREBOX_D"] == "4"
    assert environment.given(environ, home) == {"FAREBOX_B": "changed", "FAREBOX_C": "3"}


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_an_unreadable_installation_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no text, or a folder in its place, ends with 2 and no traceback."""
    path = tmp_path / "env"
    path.mkdir() if content is None else path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "farebox_cli", "doctor"],
        env={**os.environ, "FAREBOX_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.USAGE
    assert done.stderr.count("\n") == 1
    assert "settings cannot be read" in done.stderr
