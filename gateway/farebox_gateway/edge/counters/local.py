"""Counters of this node alone. N nodes with local counters allow N times each limit: then use Redis.

They stand in a mapped file (`table`), so that neither a restart nor a kill gives a second quota.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farebox_gateway.edge.counters.base import Taken, Want
from farebox_gateway.edge.counters.table import CounterTable
from farebox_gateway.edge.wall_clock import now_ms


class LocalCounters:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self._table = CounterTable(path, now_ms())

    def take(self, owner: str, wants: Sequence[Want]) -> Taken:
        """Take from all counters or from none."""
        del owner
        table = self._table
        places, used = [], []
        for index, want in enumerate(wants):
            place = table.seek(want.slot, want.start, want.ends)
            count = table.words[place] + want.units
            if want.limit is not None and count > want.limit:
                return Taken(index, (count - want.units,))
            places.append(place)
            used.append(count)
        words = table.words
        for place, count in zip(places, used, strict=True):
            words[place] = count
        return Taken(None, used)

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
