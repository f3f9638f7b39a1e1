"""Folders and secrets on disk that nobody else may read. Knows files; refuses to know what is secret."""

import os
from collections.abc import Callable
from pathlib import Path


def private_folder(folder: Path) -> None:
    """Make the folder, for its owner alone. One that exists keeps its mode: it is not ours to change.

    Raises OSError where it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def secret_in(path: Path, *, make: Callable[[], str] | None = None) -> str:
    """The secret kept in a file of mode 0600; made with `make` on first use."""
    if make is not None and not path.exists():
        write_private(path, make() + "\n")
    return path.read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only from the first byte on."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # left by a crash, perhaps with another mode
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
