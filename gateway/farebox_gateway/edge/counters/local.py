"""Counters of this node alone. N nodes with local counters allow N times each limit: then use Redis.

They stand in a mapped file (`table`), so that neither a restart nor a kill gives a second quota.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farebox_gateway.edge.counters.base import Taken, Want
from farebox_gateway.edge.counters.table import CounterTable
from farebox_gateway.edge.exchange import now_ms


class LocalCounters:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self._table = CounterTable(path, now_ms())

    def take(self, owner: str, wants: Sequence[Want]) -> Taken:
        """Take from all counters or from none."""
        del owner
        rows = []
        for index, want in enumerate(wants):
            row = self._row(want)
            count = self._table.get(row)[1]
            if want.limit is not None and count + want.units > want.limit:
                return Taken(index, (count,))
            rows.append((row, count + want.units))
        for row, count in rows:
            self._table.set_count(row, count)
        return Taken(None, tuple(count for _, count in rows))

    def settle(self, want: Want, units: int) -> None:
        """Correct what was taken, if its window still runs."""
        row = self._table.row(want.slot)
        if row is not None:
            start, count, _ = self._table.get(row)
            if start == want.start:
                self._table.set_count(row, max(0, count + units))

    def status(self) -> dict[str, Any]:
        """Say how the store is."""
        return {"kind": "local", "available": True}

    def close(self) -> None:
        """Let go of the file."""
        self._table.close()

    def _row(self, want: Want) -> int:
        """Return the counter's row, begun anew with a later window (never when a clock steps back)."""
        table = self._table
        row = table.row(want.slot)
        if row is None:
            row = table.add(want.slot, want.start)
        if want.start > table.get(row)[0]:
            table.set(row, want.start, 0, want.ends)
        return row
