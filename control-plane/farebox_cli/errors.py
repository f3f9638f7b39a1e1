"""How a command ends: its exit code, and the one line that says what went wrong."""

import enum
import sys

import click


class Exit(enum.IntEnum):
    """The exit codes of `farebox`; `farebox --help` lists them."""

    OK = 0
    PROBLEM = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERNAL = 70
    INTERRUPTED = 130


class CommandError(click.ClickException):
    """The command cannot do what was asked. The text is for a person and names the remedy."""

    def __init__(self, message: str, *, exit_code: Exit = Exit.PROBLEM) -> None:
        super().__init__(message)
        self.code = exit_code


def explain(error: BaseException) -> tuple[str, Exit]:
    """One line about an error that no command expected, and the exit code for it."""
    root = _root(error)
    text = _one_line(root)
    for explanation in (_refusal, _settings, _launcher, _postgres, _redis, _network):
        found = explanation(error, root, text)
        if found is not None:
            return found
    return f"Unexpected {type(root).__name__}: {text}", Exit.INTERNAL


def _refusal(error: BaseException, _root: BaseException, text: str) -> tuple[str, Exit] | None:
    """A refusal of the domain: its text for the caller, and what each field wants."""
    if not _is(error, "farebox.problems", "Refusal"):
        return None
    fields = getattr(error, "details", {}).get("fields", ())
    said = "".join(f" {field['field']}: {field['problem']}." for field in fields)
    return f"{getattr(error, 'message', text)}{said}", Exit.PROBLEM


def _settings(error: BaseException, _root: BaseException, _text: str) -> tuple[str, Exit] | None:
    """Names the variables and what is wrong with them; never their values, which may be secrets."""
    if not _is(error, "pydantic_core", "ValidationError") or getattr(error, "title", None) != "Settings":
        return None
    said = []
    for problem in error.errors(include_input=False, include_url=False):  # type: ignore[attr-defined]
        name = "_".join(str(part) for part in problem["loc"]).upper().removeprefix("FAREBOX_")
        said.append(f"FAREBOX_{name}: {problem['msg']}")
    return f"A setting is wrong. {'; '.join(said)}.", Exit.USAGE


def _launcher(error: BaseException, _root: BaseException, _text: str) -> tuple[str, Exit] | None:
    return (
        (str(error), Exit.PROBLEM) if _is(error, "farebox_cli.servers.errors", "ServerStartError") else None
    )


def _postgres(error: BaseException, root: BaseException, text: str) -> tuple[str, Exit] | None:
    sqlalchemy, asyncpg = "sqlalchemy.exc", "asyncpg.exceptions"
    if not (
        _is(error, sqlalchemy, "SQLAlchemyError") or _is(root, asyncpg, "PostgresError", "InterfaceError")
    ):
        return None
    away = isinstance(root, OSError) or _is(error, sqlalchemy, "OperationalError", "InterfaceError")
    if away or _is(root, asyncpg, "InvalidAuthorizationSpecificationError", "CannotConnectNowError"):
        remedy = "Check FAREBOX_DATABASE_URL and its siblings, or run `farebox doctor`."
        return f"PostgreSQL cannot be used: {text} {remedy}", Exit.UNREACHABLE
    return f"PostgreSQL refused: {text} Run `farebox doctor`.", Exit.PROBLEM


def _redis(error: BaseException, _root: BaseException, text: str) -> tuple[str, Exit] | None:
    if not _is(error, "redis.exceptions", "RedisError"):
        return None
    return f"Redis cannot be used: {text} Check FAREBOX_REDIS_URL, or run `farebox doctor`.", Exit.UNREACHABLE


def _network(error: BaseException, _root: BaseException, text: str) -> tuple[str, Exit] | None:
    if isinstance(error, ConnectionError | TimeoutError) or _is(error, "aiohttp", "ClientError"):
        return f"A server cannot be reached: {text} Run `farebox doctor`.", Exit.UNREACHABLE
    return (text, Exit.PROBLEM) if isinstance(error, OSError) else None


def _is(error: BaseException, module: str, *names: str) -> bool:
    """Looks only at loaded modules: SQLAlchemy's error cannot come from a process that never imported it."""
    loaded = sys.modules.get(module)
    if loaded is None:
        return False
    return isinstance(error, tuple(getattr(loaded, name) for name in names))


def _root(error: BaseException) -> BaseException:
    """The first cause: what a driver said, below the layers that wrapped it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
