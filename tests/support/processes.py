"""Starting and watching processes in tests: by the kernel's word, not by waiting and hoping."""

import asyncio
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path


async def launch_and_wait_for_line(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[Process, str]:
    """Start a program and return it with the first line that it prints."""
    process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, env=env, cwd=cwd)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().strip()
    assert line, f"{argv[0]} ended with {await process.wait()} before it printed anything"
    return process, line


def alive(pid: int) -> bool:
    """Whether the process exists and has not ended; a zombie has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def gone(pid: int) -> None:
    """Return once the process has ended. The kernel tells; the test's own time limit ends a vain wait."""
    if not alive(pid):
        return
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def processes_naming(text: str) -> list[int]:
    """The living processes whose command line holds this text, such as a folder of the test's own."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text.encode() in command and alive(int(folder.name)):
            found.append(int(folder.name))
    return found
