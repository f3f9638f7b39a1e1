"""`farebox apply`, `diff`, `dump` and `lint`: the catalogue as a file under version control.

`lint` needs no database and no network. The others work as the worker's role, in one transaction.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farebox.settings import Settings
from farebox_cli.environment import pass_settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import json_option, print_json, say
from farebox_cli.worker_database import in_one_transaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_FILE = click.option(
    "--file", "-f", "file", required=True, type=click.Path(allow_dash=True, path_type=Path),
    help="The YAML or JSON file; `-` reads standard input.",
)  # fmt: skip
_PRUNE = click.option(
    "--prune", is_flag=True, help="Also delete what a file of this owner made and this one does not name."
)


@click.command
@_FILE
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@_PRUNE
@json_option
@pass_settings
def apply(settings: Settings, *, file: Path, dry_run: bool, prune: bool, as_json: bool) -> None:
    """Make the catalogue what the file says, in one transaction; print what was changed."""
    changes = _changes(settings, file, prune=prune, act=not dry_run)
    _print(changes, as_json=as_json)
    if not changes:
        say("Nothing to change.")
    else:
        say(f"{len(changes)} would change." if dry_run else f"{len(changes)} changed; the gateways are told.")


@click.command
@_FILE
@_PRUNE
@json_option
@pass_settings
def diff(settings: Settings, *, file: Path, prune: bool, as_json: bool) -> None:
    """Show what applying the file would change; the exit code is 1 if anything."""
    changes = _changes(settings, file, prune=prune, act=False)
    _print(changes, as_json=as_json)
    if changes:
        click.get_current_context().exit(Exit.PROBLEM)
    say("No difference.")


@click.command
@json_option
@pass_settings
def dump(settings: Settings, *, as_json: bool) -> None:
    """Write products, upstreams, routes and plans as a file; applying it changes nothing."""
    import yaml

    async def act(session: "AsyncSession") -> dict[str, Any]:
        from farebox.products import applying

        return await applying.dump(session)

    found = in_one_transaction(settings, act)
    if as_json:
        print_json(found)
    else:
        click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100), nl=False)


@click.command
@click.argument("file", required=False, type=click.Path(allow_dash=True, path_type=Path))
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON Schema of such files instead.")
def lint(*, file: Path | None, as_schema: bool) -> None:
    """Check FILE without a database: every problem with its line."""
    if as_schema:
        from farebox.products.documents import schema

        click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
        return
    if file is None:
        raise CommandError("Name the file to check.", exit_code=Exit.USAGE)
    document, _ = _read(file)
    names = ("upstreams", "products", "routes", "plans")
    say(f"{file}: sound: " + ", ".join(f"{len(getattr(document, name))} {name}" for name in names) + ".")


def _changes(settings: Settings, file: Path, *, prune: bool, act: bool) -> list[Any]:
    from farebox.products.documents import DocumentError

    document, loaded = _read(file)

    async def work(session: "AsyncSession") -> list[Any]:
        from farebox.products import applying

        if act:
            return list(await applying.apply(session, document, loaded, prune=prune, now=datetime.now(UTC)))
        return list(applying.compare(document, loaded, await applying.standing(session), prune=prune))

    try:
        return in_one_transaction(settings, work)
    except DocumentError as error:
        raise _unusable(file, error) from None


def _read(file: Path) -> tuple[Any, Any]:
    from farebox.products.documents import DocumentError, read_document

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"{file} is no UTF-8 text; save it as UTF-8.", exit_code=Exit.USAGE) from None
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", exit_code=Exit.USAGE) from None
    try:
        return read_document(text)
    except DocumentError as error:
        raise _unusable(file, error) from None


def _unusable(file: Path, error: Any) -> CommandError:
    return CommandError("\n".join(f"{file}:{each}" for each in error.problems), exit_code=Exit.USAGE)


def _print(changes: list[Any], *, as_json: bool) -> None:
    if as_json:
        print_json(changes)
        return
    for change in changes:
        click.echo(str(change))
