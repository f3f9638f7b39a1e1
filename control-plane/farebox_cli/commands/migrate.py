"""`farebox migrate`: the schema, and for a database of one's own the roles."""

import re
import secrets
import shlex
from typing import Final

import click

from farebox.settings import Settings
from farebox_cli.environment import pass_settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import json_option, print_json, say

_DATABASE: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@click.command
@click.option("--check", is_flag=True, help="Change nothing: exit 0 if the schema is up to date, else 1.")
@click.option("--superuser-url", help="First make roles and database, as this user, and print their URLs.")
@click.option("--database", default="farebox", show_default=True, help="Name for --superuser-url.")
@json_option
@pass_settings
def migrate(
    settings: Settings, *, check: bool, superuser_url: str | None, database: str, as_json: bool
) -> None:
    """Bring the database schema up to date, as the owner role (FAREBOX_DATABASE_OWNER_URL).

    Safe to run again, and from several places at once. With --superuser-url it prepares a PostgreSQL of your
    own: three roles, none of them superuser, with new passwords that are printed once.
    """
    from farebox import migrations
    from farebox_cli.stack.first_steps import ROLE_VARIABLES, urls_by_variable

    made: dict[str, str] = {}
    if superuser_url is not None:
        if not _DATABASE.fullmatch(database):
            raise CommandError(
                f"{database!r} is no name for a database: use a-z, 0-9 and _, beginning with a letter.",
                exit_code=Exit.USAGE,
            )
        passwords = {role: secrets.token_urlsafe(24) for role in ROLE_VARIABLES}
        made = urls_by_variable(migrations.bootstrap(superuser_url, database=database, passwords=passwords))
    owner_url = made.get("FAREBOX_DATABASE_OWNER_URL") or settings.database_owner_url.get_secret_value()
    if not owner_url:
        raise CommandError(
            "FAREBOX_DATABASE_OWNER_URL is not set. Export it, run this where `farebox up` has run, or give "
            "--superuser-url to prepare a new database.",
            exit_code=Exit.USAGE,
        )
    pending = migrations.pending(owner_url)
    if pending and not check:
        migrations.upgrade(owner_url)
    if as_json:
        print_json({"was_up_to_date": not pending, "up_to_date": not (pending and check), "variables": made})
    else:
        for name, url in made.items():
            click.echo(f"{name}={shlex.quote(url)}")
        _tell(pending=pending, check=check)
    if pending and check:
        raise CommandError("The schema lacks migrations. `farebox migrate` runs them.")


def _tell(*, pending: bool, check: bool) -> None:
    if not pending:
        say("The schema is up to date.")
    elif not check:
        say("The schema is now up to date.")
