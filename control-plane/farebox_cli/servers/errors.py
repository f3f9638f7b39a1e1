"""What a launcher says when it cannot start a server. Each text names the cause and the remedy."""

from pathlib import Path


class ServerStartError(Exception):
    """A server could not be started; the text says why and what to do about it."""


class FolderInUseError(ServerStartError):
    """Another process runs on this folder; two servers on one data folder would destroy it."""

    def __init__(self, folder: Path, *, pid: int | None, what: str) -> None:
        self.folder = folder
        self.pid = pid
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(
            f"{what} is already running in {folder} ({holder}). Stop it first, or use another folder."
        )
