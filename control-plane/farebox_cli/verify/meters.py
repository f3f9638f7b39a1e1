"""What a plan's meters measure, counted line by line as their definitions say."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from farebox_cli.verify.lines import Line

_FIELDS: Final = {
    "units": "units", "bytes_in": "bytes_in", "bytes_out": "bytes_out", "microseconds": "microseconds",
    "key": "key", "route": "route", "method": "method",
}  # fmt: skip


class Gauge:
    """One meter of one period. Memory grows with the different values of a `unique`, never with the lines."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        """Read the definition. Raises `ValueError` for an aggregation that is not known here."""
        self.code = str(definition["code"])
        self._aggregation = definition["aggregation"]
        if self._aggregation not in {"count", "sum", "max", "unique"}:
            raise ValueError(f"unknown aggregation {self._aggregation!r}")
        self._field = _FIELDS[definition["field"]] if definition.get("field") else ""
        self._routes: Sequence[str] = definition.get("routes") or ()
        self._methods: Sequence[str] = definition.get("methods") or ()
        self._statuses: Sequence[str] = definition.get("statuses") or ()
        self._number = 0
        self._seen: set[str] = set()

    def take(self, line: Line) -> None:
        """Count a billable line, if the filters let it through."""
        if self._routes and line.route not in self._routes:
            return
        if self._methods and line.method not in self._methods:
            return
        if self._statuses and not {str(line.status), f"{line.status // 100}xx"} & set(self._statuses):
            return
        if self._aggregation == "count":
            self._number += 1
        elif self._aggregation == "sum":
            self._number += getattr(line, self._field)
        elif self._aggregation == "max":
            self._number = max(self._number, getattr(line, self._field))
        else:
            self._seen.add(getattr(line, self._field))

    @property
    def quantity(self) -> int:
        """What the meter came to."""
        return len(self._seen) if self._aggregation == "unique" else self._number
