"""Organizations, their keys and their plans as the plugins made them ready; nothing of requests or routes."""

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Credential:
    """One API key: its id, and its configuration by plugin."""

    id: str
    plugins: dict[str, Any]


@dataclass(slots=True, eq=False)
class Consumer:
    """One organization. `extra` holds raw configurations that have to be merged into the route's."""

    name: str
    group_id: str | None
    custom_id: str | None
    plugins: dict[str, Any]
    extra: dict[str, Any] | None
    reads: bool
    """Whether a plugin that reads the consumer by itself has a configuration here."""
    credentials: dict[str, Credential]
    memo: object = None
    """What `farebox-limit` has made of this consumer and its group."""


@dataclass(slots=True, eq=False)
class Group:
    """One plan version."""

    id: str
    plugins: dict[str, Any]
    extra: dict[str, Any] | None
    reads: bool
