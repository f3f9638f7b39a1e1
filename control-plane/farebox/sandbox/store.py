"""Where the sandbox keeps everything: one SQLite file, so that a kill between a charge and its answer
loses none.

Knows tables and JSON; refuses to know what the objects mean. A request is one transaction: its objects, its
events and its remembered answer come about together or not at all.
"""

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

Obj = dict[str, Any]

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH: Final = 24
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL,
    body TEXT NOT NULL, UNIQUE (kind, id));
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, seq);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
    created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, event TEXT NOT NULL, type TEXT NOT NULL,
    url TEXT NOT NULL, secret TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL, due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, last_status INTEGER, last_error TEXT);
CREATE INDEX IF NOT EXISTS deliveries_by_state ON deliveries (state, due);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request with an idempotency key was answered."""

    fingerprint: str
    status: int
    body: bytes


class Store:
    """The file. Everything is synchronous and short: one process, one connection."""

    def __init__(self, folder: Path, *, seed: str | None = None) -> None:
        """Open or make the file in `folder`. With a `seed` the same calls give the same ids."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "sandbox.sqlite3"
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)
        if seed is not None or self.note("seed") is None:
            self.set_note("seed", seed if seed is not None else secrets.token_hex(16))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when the block ends."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def clear(self) -> None:
        """Forget everything but the seed and the settings."""
        for table in ("objects", "answers", "deliveries"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - three names of our own

    # Notes: small facts by name.

    def note(self, name: str) -> Any:
        """The fact with this name, or None."""
        row = self._connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_note(self, name: str, value: Any) -> None:
        """Remember a fact."""
        self._connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))

    def count_up(self, name: str) -> int:
        """1, 2, 3, … for this name."""
        value = int(self.note(name) or 0) + 1
        self.set_note(name, value)
        return value

    def new_text(self, length: int = _ID_LENGTH) -> str:
        """Letters and digits that nobody guesses, the same ones for the same seed and the same calls
        before.
        """
        digest = sha256(f"{self.note('seed')}:{self.count_up('texts')}".encode()).digest()
        number, letters = int.from_bytes(digest, "big"), ""
        for _ in range(length):
            number, digit = divmod(number, 62)
            letters += _BASE62[digit]
        return letters

    # Objects.

    def put(self, kind: str, body: Obj) -> Obj:
        """Insert or replace the object by its `id`; returns it."""
        self._connection.execute(
            "INSERT INTO objects (kind, id, created, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, body["id"], body.get("created", 0), json.dumps(body)),
        )
        return body

    def get(self, kind: str, object_id: str) -> Obj | None:
        """The object, or None."""
        row = self._connection.execute(
            "SELECT body FROM objects WHERE kind = ? AND id = ?", (kind, object_id)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def remove(self, kind: str, object_id: str) -> None:
        """Forget the object."""
        self._connection.execute("DELETE FROM objects WHERE kind = ? AND id = ?", (kind, object_id))

    def newest_first(self, kind: str, *, oldest_first: bool = False) -> Iterator[Obj]:
        """Every object of the kind, the newest first."""
        order = "ASC" if oldest_first else "DESC"
        rows = self._connection.execute(
            f"SELECT body FROM objects WHERE kind = ? ORDER BY seq {order}",  # noqa: S608 - two words of ours
            (kind,),
        )
        for (body,) in rows:
            yield json.loads(body)

    def counts(self) -> dict[str, int]:
        """How many objects of each kind there are."""
        rows = self._connection.execute("SELECT kind, count(*) FROM objects GROUP BY kind ORDER BY kind")
        return dict(rows.fetchall())

    # Answers to requests with an idempotency key.

    def answer(self, key: str) -> Answer | None:
        """What this key was answered, or None."""
        row = self._connection.execute(
            "SELECT fingerprint, status, body FROM answers WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else Answer(row[0], row[1], row[2].encode())

    def remember(self, key: str, answer: Answer, *, now: int) -> None:
        """Keep an answer under its key; the first one stays."""
        self._connection.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)",
            (key, answer.fingerprint, answer.status, answer.body.decode(), now),
        )

    # Deliveries: rows of one table; `farebox.sandbox.deliveries` says what their states mean.

    def rows(self, sql: str, *values: Any) -> list[Obj]:
        """Rows of a query on `deliveries`, each as a dict."""
        cursor = self._connection.execute(sql, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def change(self, sql: str, *values: Any) -> int:
        """Run a change on `deliveries`; returns how many rows it touched."""
        return self._connection.execute(sql, values).rowcount
