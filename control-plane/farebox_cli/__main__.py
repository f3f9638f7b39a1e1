"""`farebox`: finds the command, gives it the settings, and turns every failure into one clear line.

Refuses to know what any command does. Commands are imported when they run; see `farebox_cli.registry`.
"""

import importlib
import importlib.util
import os
import sys
import traceback

import click

from farebox_cli.environment import adopt
from farebox_cli.errors import CommandError, Exit, explain
from farebox_cli.registry import COMMANDS

_EPILOG = """\b
Exit codes:
  0    done
  1    something is wrong, differs or was refused; the text says what
  2    the command line or a setting is wrong
  3    PostgreSQL, Redis or the gateway cannot be reached
  70   unexpected: a fault in Farebox
  130  stopped by Ctrl-C

Settings are environment variables, FAREBOX_…; what `farebox up` made stands in .farebox/env.
"""


class LazyGroup(click.Group):
    """Lists the registry without importing it, and imports one command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name in COMMANDS if _installed(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS or not _installed(cmd_name):
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        for section in dict.fromkeys(COMMANDS[name].section for name in names):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, COMMANDS[name].summary) for name in names if COMMANDS[name].section == section]
                )


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
@click.version_option(package_name="farebox", prog_name="farebox")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Farebox turns an Apache APISIX gateway into a paid API: keys, limits, metering, invoices, proof."""
    from farebox.settings import Settings

    ctx.meta["farebox.debug"] = debug
    ctx.obj = Settings()


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code. A command may return an exit code itself."""
    try:
        result = cli.main(args=argv, prog_name="farebox", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except CommandError as error:
        error.show()
        return error.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:  # noqa: BLE001 - the last line of defence: say it in one line
        return _unexpected(error, debug="--debug" in argv)
    return int(result) if isinstance(result, int) else Exit.OK


def main() -> None:
    """Entry point of the console script: the one place that looks at the environment."""
    try:
        adopt(os.environ)
    except (OSError, UnicodeDecodeError) as error:
        text = (
            f"The installation's settings cannot be read: {error}. Run as their owner, or set FAREBOX_HOME."
        )
        CommandError(text).show()
        sys.exit(Exit.USAGE)
    sys.exit(run(sys.argv[1:]))


def _unexpected(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    text, exit_code = explain(error)
    hint = "" if debug or exit_code is not Exit.INTERNAL else " (`farebox --debug …` shows where.)"
    CommandError(text + hint, exit_code=exit_code).show()
    return exit_code


def _installed(name: str) -> bool:
    return importlib.util.find_spec(COMMANDS[name].target.partition(":")[0]) is not None


if __name__ == "__main__":
    main()
