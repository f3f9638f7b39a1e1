"""`farebox demo`: the whole story, told as it happens on real parts."""

import asyncio
import shutil
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".farebox/demo"),
    show_default=True,
    help="Folder of the demo's own installation; what an earlier demo left there is removed.",
)
@click.option("--stay/--no-stay", default=None, help="Stay up at the end (default: on a terminal).")
def demo(home: Path, *, stay: bool | None) -> None:
    """Tell the story: sign-up, keys, calls, limits, usage, a month, its invoice, the payment, the proof, a
    declined card, and kill -9.

    Exits 0 if everything that was claimed held, 1 if not.
    """
    from farebox_cli.demo.story import tell
    from farebox_cli.stack import read_state

    if read_state(home) is not None:
        raise click.ClickException(f"a demo is already running in {home}; stop it first")
    if home.exists():
        shutil.rmtree(home)
    home.mkdir(parents=True, mode=0o700)
    stays = sys.stdout.isatty() if stay is None else stay
    sys.exit(asyncio.run(tell(home.resolve(), stay=stays)))
