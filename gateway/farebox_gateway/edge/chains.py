"""Which plugins run for a route, in which phase and in which order. It knows plugins, and no requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farebox_gateway.edge.plugins.base import Plugin, takes_part

Step = tuple[Plugin, Any]
Placed = tuple[int, Step]
"""A step with its priority."""
Owned = Mapping[str, tuple[str, dict[str, Any]]]
"""Raw configurations by plugin, each with the resource that it stands in (`routes/r1`)."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Which plugins run in which phase, in order, with their configurations."""

    rewrite: tuple[Step, ...]
    access: tuple[Step, ...]
    header_filter: tuple[Step, ...]
    log: tuple[Step, ...]
    names: frozenset[str]


def owned(owner: str, confs: Mapping[str, Any] | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return configurations with the resource that they stand in."""
    return {name: (owner, conf) for name, conf in (confs or {}).items()}


def compiled(plugins: Mapping[str, Plugin], confs: Owned) -> list[Placed]:
    """Return the steps that are not off, each with its priority: its own, or what `_meta` says."""
    placed = []
    for name, (owner, conf) in confs.items():
        plugin, meta = plugins[name], conf.get("_meta") or {}
        if not meta.get("disable"):
            step = (plugin, plugin.compile_of(owner, plugin.merge_defaults("route", conf)))
            placed.append((meta.get("priority", plugin.priority), step))
    return placed


def ordered(placed: Sequence[Placed]) -> list[Step]:
    """Return the steps, the highest priority first."""
    return [step for _, step in sorted(placed, key=lambda one: -one[0])]


def chain_of(rules: Sequence[Step], own: Sequence[Placed]) -> Chain:
    """Return the chain of the global rules and, after them, a route's own steps."""
    steps = [*rules, *ordered(own)]
    return Chain(
        rewrite=tuple(step for step in steps if takes_part(step[0], "rewrite")),
        access=tuple(step for step in steps if takes_part(step[0], "access")),
        header_filter=tuple(step for step in steps if takes_part(step[0], "header_filter")),
        log=tuple(step for step in steps if takes_part(step[0], "log")),
        names=frozenset(step[0].name for step in steps),
    )
