"""`farebox doctor`: what is wrong here, and what to do about it."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from farebox.settings import Settings
from farebox_cli.environment import home_of, pass_settings
from farebox_cli.errors import CommandError
from farebox_cli.output import Table, emit, json_option

if TYPE_CHECKING:
    from farebox_cli.doctor import Finding


@click.command
@json_option
@pass_settings
def doctor(settings: Settings, *, as_json: bool) -> None:
    """Look at everything that Farebox needs, and say what is wrong and what to do about it.

    Changes nothing. Exits 1 if something is wrong.
    """
    findings = asyncio.run(_collect(settings, home_of(os.environ).absolute()))
    wrong = [finding for finding in findings if finding.verdict == "wrong"]
    rows = [(finding.verdict.value, finding.what, finding.found) for finding in findings]
    remedies = [(finding.what, finding.remedy) for finding in wrong]
    tables = [Table(("", "what", "found"), rows)]
    if remedies:
        tables.append(Table(("wrong", "remedy"), remedies, title=""))
    emit({"ok": not wrong, "findings": findings}, as_json=as_json, tables=tables)
    if wrong:
        raise CommandError(f"{len(wrong)} of {len(findings)} checks found something wrong.")


async def _collect(settings: Settings, home: Path) -> list["Finding"]:
    from farebox_cli.doctor import examine

    return [finding async for finding in examine(settings, home)]
