"""Which log files lie in a folder: the live one and those rotated away from it.

The node's log is `NAME`; every other plain file beside it whose name begins with the log's stem is a rotated
one (`usage.log.1`, `usage.log.20261121T100000Z`, `usage-2026.log`). Compressed files are left to
`collect --once`: by the time they are compressed their plain text was followed here.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from farebox_worker.collect.sources import Place, UnreadableError

_NOT_LOGS = frozenset({".gz", ".bz2", ".xz", ".zst", ".part", ".tmp"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A log file as the folder lists it."""

    path: Path
    place: Place
    size: int
    live: bool


def list_logs(log: Path) -> list[Entry]:
    """Return the log files of the folder, the live one last. Raises `UnreadableError`."""
    try:
        with os.scandir(log.parent) as listing:
            paths = [path for item in listing if is_log(path := Path(item.path), log)]
    except OSError as error:
        raise UnreadableError(log.parent, error.strerror or str(error)) from error
    entries = [entry for path in paths if (entry := _entry(path, log)) is not None]
    return sorted(entries, key=lambda entry: (entry.live, entry.path))


def is_log(path: Path, log: Path) -> bool:
    """Tell by the name whether a file of the folder is the log or was rotated away from it."""
    return path.name.startswith(log.stem) and path.suffix not in _NOT_LOGS


def _entry(path: Path, log: Path) -> Entry | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None  # renamed or removed since it was listed: the next listing shows what became of it
    except OSError as error:
        raise UnreadableError(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(path, Place(status.st_dev, status.st_ino), status.st_size, path == log)
