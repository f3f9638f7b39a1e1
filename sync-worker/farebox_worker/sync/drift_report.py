"""What a comparison of a gateway's nodes found, and what is to be done about it. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from farebox_worker.sync.nodes import WorkerStatus

SHOWN: Final = 100
SKEW_MS: Final = 2_000


class Remedy(StrEnum):
    """Who is wrong, and what helps."""

    STORE = (
        "the gateway's store differs from what was sold: the next pass, or `farebox drift --repair`, "
        "rewrites it"
    )
    MEMORY = (
        "the store is right and the node's memory is not: it lags, or its watch on etcd is broken. It is "
        "written again; if that does not help, reload or restart the gateway on this node"
    )
    FOREIGN = "it does not carry our label; delete it by hand"
    PLUGIN = (
        "the plugin is not loaded on this node: its error log says why. Its routes are served without it: "
        "take the node out of service until it is"
    )
    UNEXAMINED = "there are too many to ask the store about each: see the causes of the others"
    NOT_OURS = "it is somebody else's and none of our plugins stands in it"


@dataclass(frozen=True, slots=True)
class Difference:
    """One item of one worker. `sort` is missing, extra, differs or plugin missing."""

    name: str
    sort: str
    worker: int
    remedy: Remedy
    fields: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "name": self.name,
            "sort": self.sort,
            "worker": self.worker,
            "fields": list(self.fields),
            "cause": self.remedy.name.lower(),
            "remedy": str(self.remedy),
        }


@dataclass(slots=True)
class NodeReport:
    """What was found at one node.

    `waiting` counts items whose change is on its way, `due` those that the next pass refreshes and that are
    enforced as sold meanwhile, `unconfirmed` differences beyond those that were looked at twice.
    """

    code: str
    optional: bool
    error: str | None = None
    workers: list[WorkerStatus] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    due: int = 0
    unconfirmed: int = 0

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep it if it is among the first."""
        self.counts[difference.sort] += 1
        if len(self.differences) < SHOWN:
            self.differences.append(difference)

    @property
    def drifts(self) -> bool:
        """Whether this node enforces something else than what was sold."""
        return bool(self.counts) or self.unconfirmed > 0

    @property
    def trouble(self) -> str | None:
        """Why nothing or not everything is known of it."""
        silent = [f"worker {each.worker}: {each.error}" for each in self.workers if each.error is not None]
        unsettled = [f"worker {each.worker} is still counting" for each in self.workers
                     if each.error is None and not each.settled]  # fmt: skip
        return self.error or "; ".join(silent + unsettled) or None

    def document(self, checked_at: datetime, collected: dict[tuple[str, str, int], int]) -> dict[str, Any]:
        """Return the report as plain JSON. `collected` is how far each stream has been metered."""
        now_ms = checked_at.timestamp() * 1000
        workers = []
        skews = [each.now - now_ms for each in self.workers if each.now]
        for each in self.workers:
            seen = collected.get((self.code, each.boot, each.worker))
            workers.append(
                {
                    "worker": each.worker,
                    "error": each.error,
                    "settled": each.settled,
                    "counts": each.counts,
                    "plugins": {name: each.plugins[name] for name in sorted(each.plugins)},
                    "clock_ahead_ms": round(each.now - now_ms) if each.now else None,
                    "stream": {"boot": each.boot, "seq": each.seq, "collected": seen},
                }
            )
        return {
            "drift": dict(sorted(self.counts.items())),
            "waiting": self.waiting,
            "due": self.due,
            "unconfirmed": self.unconfirmed,
            "trouble": self.trouble,
            "clock_skewed": any(abs(skew) > SKEW_MS for skew in skews),
            "differences": [each.document() for each in self.differences],
            "workers": workers,
        }


@dataclass(slots=True)
class Report:
    """What was found at one gateway."""

    gateway: str
    checked_at: datetime
    nodes: dict[str, NodeReport]
    catalogue_waits: bool = False

    @property
    def drifts(self) -> bool:
        """Whether any node enforces something else than what was sold."""
        return any(node.drifts for node in self.nodes.values())

    @property
    def store_differs(self) -> bool:
        """Whether a pass would put something right."""
        return any(
            each.remedy is Remedy.STORE for node in self.nodes.values() for each in node.differences
        ) or any(node.unconfirmed for node in self.nodes.values())


def fields_of(sold: bytes, held: bytes) -> tuple[str, ...]:
    """Name the members in which two texts of forms differ: `group`, `farebox-auth.state`…"""
    ours, theirs = msgspec.json.decode(sold), msgspec.json.decode(held)
    if not isinstance(theirs, list) or len(ours) != len(theirs):
        return ()
    found = ["group"] if len(ours) == 4 and ours[2] != theirs[2] else []
    left, right = _members(ours[-1]), _members(theirs[-1])
    found += [name for name in left.keys() | right.keys() if left.get(name) != right.get(name)]
    return tuple(sorted(found))


def _members(plugins: Any) -> dict[str, Any]:
    if not isinstance(plugins, dict):
        return {}
    return {
        f"{plugin}.{name}": value
        for plugin, conf in plugins.items()
        for name, value in (conf.items() if isinstance(conf, dict) else ())
    }
