"""`.farebox/state.json`: what runs in this folder, for people, for `farebox up --check`, demos and tests.

Written anew after every change; it names no secret. It is believed only while its writer lives.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from farebox_cli.private_files import write_private
from farebox_cli.servers.process import lock_holder
from farebox_cli.stack.configuration import Addresses


@dataclass(frozen=True, slots=True)
class MemberState:
    """One member. `pid` is None while it is down."""

    pid: int | None
    status: str
    restarts: int


@dataclass(frozen=True, slots=True)
class StackState:
    """The whole. `ready` turns true when everything has answered once; members tell of later troubles."""

    pid: int
    ready: bool
    started_at: str
    addresses: Addresses
    members: dict[str, MemberState]


def state_file(home: Path) -> Path:
    """Where the state of the installation in `home` stands."""
    return home / "state.json"


def write_state(home: Path, state: StackState) -> None:
    """Replace the file in one step."""
    write_private(state_file(home), json.dumps(asdict(state), indent=2) + "\n")


def read_state(home: Path) -> StackState | None:
    """What runs in this folder, or None when nothing does: no file, or the file of a run that is over."""
    try:
        found: Any = json.loads(state_file(home).read_text())
        state = msgspec.convert(found, StackState)
    except (FileNotFoundError, ValueError):
        return None
    return state if lock_holder(home) == state.pid else None


def remove_state(home: Path) -> None:
    """Nothing runs here any more."""
    state_file(home).unlink(missing_ok=True)
