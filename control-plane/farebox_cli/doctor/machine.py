"""The machine: Python, the programs we start, ports, disk space."""

import os
import platform
import shutil
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from farebox.settings import Settings
from farebox_cli.doctor.findings import Finding, good, one_line, wrong
from farebox_cli.servers.binaries import postgres_programs, redis_server_program
from farebox_cli.servers.errors import ServerStartError
from farebox_cli.servers.process import port_is_free
from farebox_cli.stack.state import StackState

LEAST_FREE_BYTES: Final = 1024**3
_LEAST_PYTHON: Final = (3, 11)


def python() -> Finding:
    """3.11 or later, with the world's time zones."""
    version = platform.python_version()
    if sys.version_info[:2] < _LEAST_PYTHON:
        return wrong(
            "python",
            f"Python {version}",
            "Farebox needs Python 3.11 or later; install it, then `make install`.",
        )
    try:
        zoneinfo.ZoneInfo("Pacific/Auckland")
    except zoneinfo.ZoneInfoNotFoundError:
        return wrong(
            "python",
            f"Python {version} without time zones",
            "Run `make install`: the package tzdata is missing.",
        )
    return good("python", f"Python {version} at {sys.executable}")


def programs(*, needs_postgres: bool, needs_redis: bool) -> Iterator[Finding]:
    """The servers that `farebox up` would start, unless others run them."""
    found: tuple[tuple[str, bool, Callable[[], Path]], ...] = (
        ("postgresql programs", needs_postgres, _postgres_program),
        ("redis program", needs_redis, redis_server_program),
    )
    for what, needed, find in found:
        if not needed:
            yield good(what, "not needed: a server of your own is set")
            continue
        try:
            yield good(what, str(find()))
        except ServerStartError as error:
            yield wrong(what, "not found", str(error))


def ports(settings: Settings, state: StackState | None) -> Iterator[Finding]:
    """Free while nothing runs here. While it runs they are ours; whether they answer is asked elsewhere."""
    if state is not None:
        yield good("ports", f"in use by the installation that runs here (process {state.pid})")
        return
    wanted = {"FAREBOX_WEB_PORT": settings.web_port, "the gateway": 9080, "the gateway's Admin API": 9180}
    for what, port in wanted.items():
        if port_is_free(port):
            yield good(f"port {port}", "free")
        else:
            yield wrong(
                f"port {port}",
                f"taken by another program ({what})",
                f"Find it with `ss -ltnp 'sport = :{port}'`, or let `farebox up` take another port.",
            )


def disk(settings: Settings) -> Finding:
    """Room for the usage log: without it requests are answered but not metered."""
    folder = _existing(settings.usage_log.absolute().parent)
    try:
        usage = shutil.disk_usage(folder)
        nodes = os.statvfs(folder)
    except OSError as error:
        return wrong("disk", f"{folder} cannot be looked at: {one_line(error)}", "Check FAREBOX_USAGE_LOG.")
    free = f"{usage.free / 1024**3:.1f} GiB free of {usage.total / 1024**3:.1f} at {folder}"
    if usage.free < LEAST_FREE_BYTES:
        remedy = "Free space, or move FAREBOX_USAGE_LOG and FAREBOX_USAGE_ARCHIVE elsewhere."
        return wrong("disk", free, remedy)
    if nodes.f_files and nodes.f_favail < 1000:
        return wrong("disk", f"{nodes.f_favail} files may still be made at {folder}", "Remove files there.")
    if not os.access(folder, os.W_OK):
        return wrong("disk", f"{folder} cannot be written", "Run as its owner, or let us write there.")
    return good("disk", free)


def home(folder: Path) -> Finding:
    """The folder of the installation holds secrets: it is for its owner alone."""
    env = folder / "env"
    if not env.exists():
        return good("home", f"no installation in {folder} yet")
    mode = env.stat().st_mode & 0o777
    if mode & 0o077:
        return wrong(
            "home",
            f"{env} is readable by others (mode {mode:o})",
            f"Run `chmod 600 {env}`: it holds secrets.",
        )
    return good("home", f"{folder}, secrets readable by their owner alone")


def _postgres_program() -> Path:
    return postgres_programs(for_others=False).postgres


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
