"""The exported invoice with its proof, read into values. What cannot be read is named, never guessed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from farebox_cli.verify.calendar import TestClock, microseconds

FORMAT: Final = "farebox-invoice"
VERSION: Final = 1
_Kind = TypeVar("_Kind")


class UnreadableProofError(ValueError):
    """The document is no invoice with its proof, or of a version that is not known here."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A period and the price in it. Instants are microseconds of the organization's time; `claimed_units` and
    `claimed_excluded` (units by reason) are what the invoice says was counted; `billed_units`, on corrections
    only, what earlier invoices had billed.
    """

    subscription: str
    charges: Sequence[Mapping[str, Any]]
    time_zone: str
    anchor_day: int
    start: int
    end: int
    is_first: bool
    is_last: bool
    rule: str
    claimed_requests: int
    claimed_units: int
    claimed_excluded: Mapping[str, int]
    billed_units: int | None
    period_id: str
    kind: str = "regular"
    quota_units: int | None = None
    meters: Sequence[Mapping[str, Any]] = ()
    claimed_meters: Mapping[str, int] = field(default_factory=dict)
    usage_corrections: Sequence[tuple[str, int]] = ()
    coupons: Sequence[Mapping[str, Any]] = ()
    billed_meters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """A line as the invoice states it."""

    kind: str
    code: str
    quantity: str
    minor: int
    of_period: str | None


@dataclass(frozen=True, slots=True)
class InvoiceTax:
    """A tax as the invoice states it; `rate` in per cent."""

    kind: str
    name: str
    rate: str
    inclusive: bool
    base: int
    minor: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes `start` to `end` (excluded) of a log file; times in microseconds, None if it has no line."""

    node: str
    file: str
    file_id: int
    fingerprint: str
    start: int
    end: int
    sha256: str
    lines: int
    quarantined: int
    first_at: int | None
    last_at: int | None

    @property
    def name(self) -> str:
        """How the segment is named to a person."""
        return f"{self.node}: {self.file} bytes {self.start} to {self.end}"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as the statement declares it; both ends of a gap are missing numbers."""

    node: str
    boot: str
    worker: int
    highest: int
    gaps: Sequence[tuple[int, int]]
    first_at: int
    last_at: int

    @property
    def name(self) -> str:
        """How the stream is named to a person."""
        return f"{self.node}/{self.boot}/{self.worker}"


@dataclass(frozen=True, slots=True)
class Proof:
    """Everything that is checked. `statement_digest` is derived here, the claimed ones are beside it."""

    number: str
    organization: str
    currency: str
    minor_digits: int
    clock: TestClock
    terms: Terms
    corrections: Sequence[Terms]
    lines: Sequence[InvoiceLine]
    taxes: Sequence[InvoiceTax]
    subtotal: int
    tax: int
    total: int
    retired_nodes: Sequence[str]
    statement_digest: str
    claimed_digests: Sequence[str]
    since: int | None
    until: int | None
    missing_lines: int
    streams: Sequence[Stream]
    segments: Sequence[Segment]


def load(path: Path) -> Proof:
    """Read the file that `farebox invoice show --proof` wrote. Raises `UnreadableProofError`, `OSError`."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnreadableProofError(f"{path} is no JSON: {error}") from error
    return read(document)


def read(document: Any) -> Proof:
    """Read the document. Raises `UnreadableProofError` naming the member."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnreadableProofError(f'this is no export of an invoice: expected "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        raise UnreadableProofError(f"version {document.get('version')!r} is not known here; {VERSION} is")
    try:
        return _proof(document)
    except KeyError as error:
        raise UnreadableProofError(f"the member {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UnreadableProofError(f"a member cannot be read: {error}") from error


def _proof(document: Mapping[str, Any]) -> Proof:
    invoice, statement = document["invoice"], document["statement"]
    basis, body = invoice["basis"], statement["body"]
    clock = sorted((microseconds(each["began_at"]), each["offset_ms"] * 1000) for each in basis["test_clock"])
    return Proof(
        number=str(invoice["number"]),
        organization=_bare(basis["organization"]["id"], "org_"),
        currency=_as(str, basis["currency"]),
        minor_digits=_as(int, basis["minor_digits"]),
        clock=TestClock(tuple(began for began, _ in clock), tuple(offset for _, offset in clock)),
        terms=_terms(basis),
        corrections=[_terms(entry) for entry in basis["corrections"]],
        lines=[_line(line) for line in invoice["lines"]],
        taxes=[_tax(each) for each in invoice.get("taxes", [])],
        subtotal=_as(int, invoice["subtotal_minor"]),
        tax=_as(int, invoice["tax_minor"]),
        total=_as(int, invoice["total_minor"]),
        retired_nodes=[_as(str, node["node"]) for node in basis["retired_nodes"]],
        statement_digest=_digest(body),
        claimed_digests=[statement["digest"], basis["statement_digest"]],
        since=None if body["since"] is None else microseconds(body["since"]),
        until=None if body["until"] is None else microseconds(body["until"]),
        missing_lines=_as(int, body["missing_lines"]),
        streams=[_stream(entry) for entry in body["streams"]],
        segments=[_segment(entry) for entry in body["segments"]],
    )


def _terms(entry: Mapping[str, Any]) -> Terms:
    period = entry["period"]
    return Terms(
        subscription=_bare(entry["subscription"], "sub_"),
        charges=_as(list, entry["charges"]),
        time_zone=_as(str, entry["time_zone"]),
        anchor_day=_as(int, entry["anchor_day"]),
        start=microseconds(period["start"]),
        end=microseconds(period["end"]),
        is_first=_as(bool, period["is_first"]),
        is_last=_as(bool, period["is_last"]),
        rule=_as(str, entry["billable_rule"]),
        claimed_requests=_as(int, entry["billable"]["requests"]),
        claimed_units=_as(int, entry["billable"]["units"]),
        claimed_excluded={reason: _as(int, count["units"]) for reason, count in entry["excluded"].items()},
        billed_units=entry.get("billed_units"),
        period_id=_as(str, period["id"]),
        kind=_as(str, period.get("kind", "regular")),
        quota_units=entry.get("quota_units"),
        meters=_as(list, entry.get("meters", [])),
        claimed_meters={name: _as(int, value) for name, value in entry.get("measured", {}).items()},
        usage_corrections=[
            (_as(str, each["meter"]), _as(int, each["quantity"]))
            for each in entry.get("usage_corrections", [])
        ],
        coupons=_as(list, entry.get("discounts", [])),
        billed_meters={name: _as(int, value) for name, value in entry.get("billed_meters", {}).items()},
    )


def _line(entry: Mapping[str, Any]) -> InvoiceLine:
    return InvoiceLine(
        _as(str, entry["kind"]),
        _as(str, entry["charge_code"]),
        _as(str, entry["quantity"]),
        _as(int, entry["amount_minor"]),
        entry["of_period"],
    )


def _tax(entry: Mapping[str, Any]) -> InvoiceTax:
    return InvoiceTax(
        _as(str, entry["kind"]),
        _as(str, entry["name"]),
        _as(str, entry["rate"]),
        _as(bool, entry["inclusive"]),
        _as(int, entry["base_minor"]),
        _as(int, entry["amount_minor"]),
    )


def _stream(entry: Mapping[str, Any]) -> Stream:
    return Stream(
        _as(str, entry["node"]),
        _as(str, entry["boot"]),
        _as(int, entry["worker"]),
        _as(int, entry["highest"]),
        [(_as(int, first), _as(int, last)) for first, last in entry["gaps"]],
        microseconds(entry["first_at"]),
        microseconds(entry["last_at"]),
    )


def _segment(entry: Mapping[str, Any]) -> Segment:
    first, last = entry["first_at"], entry["last_at"]
    return Segment(
        _as(str, entry["node"]),
        _as(str, entry["file"]),
        _as(int, entry["file_id"]),
        _as(str, entry["fingerprint"]),
        _as(int, entry["start"]),
        _as(int, entry["end"]),
        _as(str, entry["sha256"]),
        _as(int, entry["lines"]),
        _as(int, entry["quarantined"]),
        None if first is None else microseconds(first),
        None if last is None else microseconds(last),
    )


def _digest(body: Any) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _bare(text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise ValueError(f"expected an id that begins with {prefix}, got {text!r}")
    return text.removeprefix(prefix)


def _as(kind: type[_Kind], value: Any) -> _Kind:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value
