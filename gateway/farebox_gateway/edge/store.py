"""What the Admin API has been told: resources by kind, their references, and their durable history.

A commit is checked and applied in memory at once, so that the next one is checked against it, but it is
announced to the edge and answered to the client only when the journal has it on the disk; commits that wait
at the same time share one flush. If the disk refuses, they are undone in reverse and nobody saw them.
This module knows no plugins and no HTTP.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from farebox_gateway.edge.journal import Journal, JournalError
from farebox_gateway.edge.sealing import Sealer

log = logging.getLogger(__name__)

Path = tuple[str, ...]
"""`("routes", "1")`, `("consumers", "acme")` or `("consumers", "acme", "credentials", "k1")`."""

KINDS: Final = (
    "upstreams",
    "services",
    "routes",
    "consumer_groups",
    "consumers",
    "plugin_metadata",
    "global_rules",
)
_REFERENCES: Final = (
    ("group_id", "consumer_groups"),
    ("upstream_id", "upstreams"),
    ("service_id", "services"),
)
_encode = msgspec.json.Encoder().encode


class StoreUnavailableError(RuntimeError):
    """The journal could not be written; nothing was changed."""


@dataclass(slots=True)
class Entry:
    """A stored resource: its JSON as the Admin API answers it, and etcd's two revisions."""

    raw: bytes
    created: int
    modified: int
    uses: Path
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Put `value` at `path`, or delete it when there is none; `expires` is Unix milliseconds (`?ttl=`)."""

    path: Path
    value: dict[str, Any] | None
    expires: int | None = None


Listener = Callable[[Sequence[Change]], None]


@dataclass(slots=True)
class _Pending:
    payload: bytes
    changes: Sequence[Change]
    undo: list[tuple[Path, Entry | None]]
    done: asyncio.Future[None]


class Store:
    """Resources in memory, each look-up a dictionary's, with a journal behind them."""

    def __init__(self, journal: Journal, listener: Listener, sealer: Sealer, *, compact_bytes: int) -> None:
        self.revision = 0
        self._journal = journal
        self._listener = listener
        self._sealer = sealer
        self._compact_bytes = compact_bytes
        self._tables: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._credentials: dict[str, dict[str, Entry]] = {}
        self._users: dict[Path, dict[Path, None]] = {}
        self._pending: list[_Pending] = []
        self._flusher: asyncio.Task[None] | None = None
        self._compactor: threading.Thread | None = None
        self._snapshot_bytes = 0

    # -- reading

    def get(self, path: Path) -> Entry | None:
        """Return the entry at `path`."""
        table = self.table(path[:-1])
        return None if table is None else table.get(path[-1])

    def table(self, prefix: Path) -> dict[str, Entry] | None:
        """Return the entries under a prefix in order of creation; none if the prefix was never written."""
        if len(prefix) == 1:
            return self._tables.get(prefix[0])
        return self._credentials.get(prefix[1])

    def value(self, path: Path) -> dict[str, Any] | None:
        """Return the decoded value at `path`."""
        entry = self.get(path)
        return None if entry is None else msgspec.json.decode(entry.raw, type=dict[str, Any])

    def user_of(self, path: Path) -> Path | None:
        """Return one resource that refers to `path`, the oldest."""
        return next(iter(self._users.get(path, ())), None)

    def counts(self) -> dict[str, int]:
        """Return how many resources there are of each kind."""
        counts = {kind: len(table) for kind, table in self._tables.items()}
        return {**counts, "credentials": sum(len(members) for members in self._credentials.values())}

    def expiring(self) -> Iterator[tuple[Path, int]]:
        """Yield the resources that end by themselves, with their time in Unix milliseconds."""
        for path, entry in self._everything():
            if entry.expires is not None:
                yield path, entry.expires

    def consumer_paths(self) -> Iterator[Path]:
        """Yield where each consumer and each credential stands."""
        for name in self._tables["consumers"]:
            yield ("consumers", name)
        for user, members in self._credentials.items():
            for name in members:
                yield ("consumers", user, "credentials", name)

    # -- writing

    async def commit(self, changes: Sequence[Change]) -> None:
        """Make all the changes or none, durably. Raises `StoreUnavailableError` when the disk refuses."""
        pending = self._stage(changes)
        self._pending.append(pending)
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())
        await asyncio.shield(pending.done)

    async def settled(self) -> None:
        """Wait until nothing that could still be undone is to be seen."""
        while self._flusher is not None:
            await asyncio.shield(asyncio.wait({self._flusher}))

    def recover(self) -> None:
        """Read everything back from the journal and tell the listener."""
        for payload in self._journal.recover():
            record = msgspec.json.decode(payload)
            self.revision = max(self.revision, record["r"])
            for path, value, created, modified, expires in record["c"]:
                entry = None
                if value is not None:
                    opened = self._sealer.open(value)
                    entry = Entry(_encode(opened), created, modified, _uses(opened), expires)
                self._place(tuple(path), entry)
        for path, entry in self._everything():
            value = msgspec.json.decode(entry.raw, type=dict[str, Any])
            self._listener((Change(path, value, entry.expires),))

    async def close(self) -> None:
        """Finish what is being written."""
        await self.settled()
        if self._compactor is not None:
            await asyncio.to_thread(self._compactor.join)
        self._journal.close()

    # -- inside

    def _stage(self, changes: Sequence[Change]) -> _Pending:
        self.revision += 1
        undo: list[tuple[Path, Entry | None]] = []
        rows: list[Any] = []
        for change in changes:
            before = self.get(change.path)
            entry = None
            if change.value is not None:
                created = self.revision if before is None else before.created
                raw = _encode(change.value)
                entry = Entry(raw, created, self.revision, _uses(change.value), change.expires)
                rows.append(
                    [change.path, msgspec.Raw(self._sealer.seal(raw)), created, self.revision, change.expires]
                )
            else:
                rows.append([change.path, None, 0, self.revision, None])
            undo.append((change.path, before))
            self._place(change.path, entry)
        payload = _encode({"r": self.revision, "c": rows})
        return _Pending(payload, changes, undo, asyncio.get_running_loop().create_future())

    async def _flush(self) -> None:
        while self._pending:
            batch = self._pending
            self._pending = []
            try:
                await asyncio.to_thread(self._journal.append, [item.payload for item in batch])
            except JournalError as error:
                log.critical("admin state not written, %d commits undone: %s", len(batch), error)
                self._undo(batch + self._pending, error)
                self._pending = []
                continue
            for item in batch:
                self._listener(item.changes)
                item.done.set_result(None)
            self._compact()
        self._flusher = None

    def _undo(self, batch: list[_Pending], error: Exception) -> None:
        for item in reversed(batch):
            for path, before in reversed(item.undo):
                self._place(path, before)
        for item in batch:
            item.done.set_exception(StoreUnavailableError(str(error)))

    def _compact(self) -> None:
        """Start a snapshot when the journal has outgrown what it began with; writes go on meanwhile."""
        if self._journal.size < max(self._compact_bytes, self._snapshot_bytes):
            return
        if self._compactor is not None and self._compactor.is_alive():
            return
        try:
            number = self._journal.rotate()
        except OSError as error:
            log.critical("the journal cannot be rotated, it keeps growing: %s", error)
            return
        durable = dict(self._everything())
        for item in reversed(self._pending):
            for path, before in reversed(item.undo):
                if before is None:
                    durable.pop(path, None)
                else:
                    durable[path] = before
        self._snapshot_bytes = sum(len(entry.raw) for entry in durable.values())
        self._compactor = threading.Thread(target=self._snapshot, args=(number, durable, self.revision))
        self._compactor.start()

    def _snapshot(self, number: int, entries: dict[Path, Entry], revision: int) -> None:
        try:
            self._journal.write_snapshot(number, self._snapshot_records(entries, revision))
        except OSError as error:
            log.critical("no snapshot was written, the journals are kept: %s", error)

    def _snapshot_records(self, entries: dict[Path, Entry], revision: int) -> Iterable[bytes]:
        yield _encode({"r": revision, "c": []})
        for path, entry in entries.items():
            raw = msgspec.Raw(self._sealer.seal(entry.raw))
            row = [path, raw, entry.created, entry.modified, entry.expires]
            yield _encode({"r": entry.modified, "c": [row]})

    def _everything(self) -> Iterator[tuple[Path, Entry]]:
        """Yield all entries so that what is referred to comes before what refers to it."""
        for kind, table in self._tables.items():
            for name, entry in table.items():
                yield (kind, name), entry
        for user, members in self._credentials.items():
            for name, entry in members.items():
                yield ("consumers", user, "credentials", name), entry

    def _place(self, path: Path, entry: Entry | None) -> None:
        if len(path) == 2:
            table = self._tables[path[0]]
        elif entry is None:
            table = self._credentials.get(path[1], {})
        else:
            table = self._credentials.setdefault(path[1], {})
        before = table.pop(path[-1], None) if entry is None else table.get(path[-1])
        if before is not None and before.uses:
            for used in _pairs(before.uses):
                users = self._users.get(used)
                if users is not None:
                    users.pop(path, None)
                    if not users:
                        del self._users[used]
        if entry is not None:
            table[path[-1]] = entry
            for used in _pairs(entry.uses):
                self._users.setdefault(used, {})[path] = None
        elif len(path) == 4 and not table:
            self._credentials.pop(path[1], None)


def _uses(value: dict[str, Any]) -> Path:
    """Return what a resource refers to, flat: `(kind, id, kind, id…)`."""
    if not any(name in value for name, _ in _REFERENCES):
        return ()
    flat: list[str] = []
    for name, kind in _REFERENCES:
        if name in value:
            flat += (kind, str(value[name]))
    return tuple(flat)


def _pairs(uses: Path) -> Iterator[Path]:
    for index in range(0, len(uses), 2):
        yield uses[index : index + 2]
