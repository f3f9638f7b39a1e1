"""Meters: what is measured of a period's billable requests, as a plan version defines it. Pure.

A meter aggregates (`count`, `sum`, `max`, `unique`) over the billable requests that its filters (routes,
methods, statuses) let through. Two exist without being defined: `units`, the sum of units, which a charge is
priced by unless it names another, and `requests`, their number.

What can be measured is what the rollups hold: sums of `units`, `bytes_in`, `bytes_out`, `microseconds`; the
greatest `units` of one request (a seat count or a storage size that the upstream reports); how many different
keys, routes or methods were seen. Knows no prices and no database.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Aggregation = Literal["count", "sum", "max", "unique"]
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "count": (),
    "sum": ("units", "bytes_in", "bytes_out", "microseconds"),
    "max": ("units",),
    "unique": ("key", "route", "method"),
}
"""The fields that each aggregation takes; none for a count."""
UNITS: Final = "units"
REQUESTS: Final = "requests"
RESERVED: Final = (UNITS, REQUESTS)
MOST_METERS: Final = 20
MOST_FILTERED: Final = 50
_CODE: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ROUTE: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_METHOD: Final = re.compile(r"[A-Z]{1,32}")
_STATUS: Final = re.compile(r"[1-5](xx|[0-9][0-9])")
_MEMBERS: Final = frozenset({"code", "aggregation", "field", "routes", "methods", "statuses"})


class MeterError(ValueError):
    """A meter that cannot be read. `field` is its place, such as `meters[1].statuses[0]`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Measured:
    """What rollups say of one combination of key, route, method and status in a period, billable alone."""

    key: str
    route: str
    method: str
    status: int
    requests: int
    units: int
    bytes_in: int
    bytes_out: int
    microseconds: int
    max_units: int


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter. Empty filters let everything through; `statuses` are texts such as `2xx` or `404`."""

    code: str
    aggregation: Aggregation
    field: str = ""
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()

    def takes(self, measured: Measured) -> bool:
        """Whether the filters let it through."""
        return (
            (not self.routes or measured.route in self.routes)
            and (not self.methods or measured.method in self.methods)
            and (not self.statuses or any(_fits(status, measured.status) for status in self.statuses))
        )

    def measure(self, period: Iterable[Measured]) -> int:
        """Return the meter's quantity in a period; 0 where nothing was let through."""
        rows = (row for row in period if self.takes(row))
        match self.aggregation:
            case "count":
                return sum(row.requests for row in rows)
            case "sum":
                return sum(getattr(row, self.field) for row in rows)
            case "max":
                return max((row.max_units for row in rows), default=0)
            case "unique":
                return len({getattr(row, self.field) for row in rows})


BUILT_IN: Final = (Meter(UNITS, "sum", "units"), Meter(REQUESTS, "count"))


def parse(document: Any) -> tuple[Meter, ...]:
    """Read a plan version's list of meters. Raises `MeterError` naming the field and the remedy."""
    if not isinstance(document, list) or len(document) > MOST_METERS:
        raise MeterError("meters", f"expected a list of at most {MOST_METERS}")
    meters = tuple(_one(entry, f"meters[{index}]") for index, entry in enumerate(document))
    seen: set[str] = set(RESERVED)
    for index, meter in enumerate(meters):
        if meter.code in seen:
            raise MeterError(f"meters[{index}].code", f"{meter.code!r} is taken; each needs its own")
        seen.add(meter.code)
    return meters


def measure(meters: Sequence[Meter], period: Sequence[Measured]) -> dict[str, int]:
    """Return each meter's quantity in a period, the built-in ones included."""
    return {meter.code: meter.measure(period) for meter in (*BUILT_IN, *meters)}


def _one(document: Any, place: str) -> Meter:
    if not isinstance(document, Mapping):
        raise MeterError(place, "expected an object")
    for name in sorted(document.keys() - _MEMBERS):
        raise MeterError(f"{place}.{name}", f"is not known here; there are {', '.join(sorted(_MEMBERS))}")
    code, aggregation = document.get("code"), document.get("aggregation")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise MeterError(f"{place}.code", "expected 1 to 40 characters of a-z, 0-9, _ and -, a letter first")
    if not isinstance(aggregation, str) or aggregation not in FIELDS:
        raise MeterError(f"{place}.aggregation", f"expected one of {', '.join(FIELDS)}")
    return Meter(
        code,
        aggregation,  # type: ignore[arg-type]  # it is one of FIELDS
        _field(document.get("field"), aggregation, place),
        _texts(document, "routes", place, _ROUTE, "ids of routes"),
        _texts(document, "methods", place, _METHOD, "methods in upper case, such as POST"),
        _texts(document, "statuses", place, _STATUS, "statuses such as 2xx or 404"),
    )


def _field(value: Any, aggregation: str, place: str) -> str:
    fields = FIELDS[aggregation]
    if not fields:
        if value is not None:
            raise MeterError(f"{place}.field", f"a {aggregation} takes none; leave it out")
        return ""
    if value not in fields:
        raise MeterError(f"{place}.field", f"expected one of {', '.join(fields)} for {aggregation}")
    return str(value)


def _texts(
    document: Mapping[str, Any], name: str, place: str, form: re.Pattern[str], noun: str
) -> tuple[str, ...]:
    values = document.get(name, [])
    if not isinstance(values, list) or len(values) > MOST_FILTERED:
        raise MeterError(f"{place}.{name}", f"expected a list of at most {MOST_FILTERED} {noun}")
    for index, value in enumerate(values):
        if not isinstance(value, str) or not form.fullmatch(value):
            raise MeterError(f"{place}.{name}[{index}]", f"expected {noun}")
    return tuple(dict.fromkeys(values))


def _fits(pattern: str, status: int) -> bool:
    return status // 100 == int(pattern[0]) if pattern.endswith("xx") else status == int(pattern)
