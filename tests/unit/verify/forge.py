"""Logs and the invoice that a naive metering makes of them: a set, a loop and a sum, nothing of ours.

The forge is the oracle: it remembers every line it has seen, so it needs no streams and no ranges.
"""

import gzip
import hashlib
import json
import random
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

ORG, SUB, OTHER_SUB = "acmeacme01", "subsubsub1", "subsubsub2"
STARTER = [
    {"code": "base", "model": "flat", "description": "Starter plan", "amount": "10.00"},
    {
        "code": "requests", "model": "per_unit", "description": "Requests", "included": "100",
        "unit_price": "0.015",
    },
]  # fmt: skip


def ms(instant: str) -> int:
    """Read an instant (UTC) as the usage line writes it."""
    return round(datetime.fromisoformat(instant).replace(tzinfo=UTC).timestamp() * 1000)


def rfc(milliseconds: int) -> str:
    """Write it as the proof does."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class Forge:
    """Writes logs into a folder and an invoice beside it."""

    folder: Path
    seed: int = 1
    start: str = "2026-11-01"
    end: str = "2026-12-01"
    is_first: bool = False
    is_last: bool = False
    clock: list[tuple[str, int]] = field(default_factory=list)
    gaps: dict[tuple[str, str, int], list[tuple[int, int]]] = field(default_factory=dict)
    corrections: list[dict[str, Any]] = field(default_factory=list)
    segment_lines: int = 50
    since: str | None = None
    until: str | None = None
    files: dict[str, list[bytes]] = field(default_factory=dict)
    _next: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def line(self, when: str | int, file: str = "gw-1.log", *, skip: int = 0, **members: Any) -> bytes:
        """Write the next line of a stream; `skip` leaves numbers out before it."""
        node, boot, worker = file.partition(".")[0], members.pop("boot", "b1"), members.pop("worker", 0)
        self._next[node, boot, worker] += 1 + skip
        document = {
            "v": 1, "ts": when if isinstance(when, int) else ms(when), "node": node, "boot": boot,
            "worker": worker, "seq": self._next[node, boot, worker], "rid": "r", "env": "live", "org": ORG,
            "key": "k", "sub": SUB, "method": "GET", "path": "/", "status": 200, "outcome": "served",
            "units": 1, "in": 1, "out": 2, "us": 3, "ip": "203.0.113.7",
        } | members  # fmt: skip
        raw = json.dumps({name: value for name, value in document.items() if value is not None}).encode()
        return self.raw(raw, file)

    def raw(self, raw: bytes, file: str = "gw-1.log") -> bytes:
        """Write any bytes as a line."""
        self.files.setdefault(file, []).append(raw)
        return raw

    def month(self, lines: int = 400) -> None:
        """Write a month of mixed traffic on two nodes."""
        chance = random.Random(self.seed)
        first, last = ms(self.start), ms(self.end)
        for number in range(lines):
            when = first + (last - first) * number // lines + chance.randrange(1000)
            outcome, status = chance.choice(
                [("served", 200)] * 6 + [("served", 404), ("served", 503), ("rate_limited", 429),
                 ("client_closed", 499), ("client_closed", 200), ("upstream_error", 502)]
            )  # fmt: skip
            self.line(
                when,
                chance.choice(["gw-1.log", "gw-2.log"]),
                worker=chance.randrange(2),
                outcome=outcome,
                status=status,
                units=chance.randrange(4),
                env=chance.choice(["live", "live", "test"]),
                sub=chance.choice([SUB, SUB, OTHER_SUB]),
            )

    def write(self, *, compress: bool = False) -> list[Path]:
        """Write the logs; compressed they have other names."""
        paths = []
        for name, lines in self.files.items():
            content = b"".join(line + b"\n" for line in lines)
            path = self.folder / (f"archive-{name}.gz" if compress else name)
            path.write_bytes(gzip.compress(content) if compress else content)
            paths.append(path)
        return paths

    def document(self) -> dict[str, Any]:
        """Return the invoice with its proof, as this metering would export it."""
        parsed = [(name, _parsed(raw)) for name, lines in self.files.items() for raw in lines]
        seen: set[tuple[Any, ...]] = set()
        fresh = []
        for _, line in parsed:
            if line is None:
                continue
            key = (line["node"], line["boot"], line["worker"], line["seq"])
            if key not in seen:
                seen.add(key)
                fresh.append(line)
        body = self._statement(fresh)
        digest = hashlib.sha256(
            json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        ).hexdigest()
        terms = self._terms(fresh, self.start, self.end, is_first=self.is_first, is_last=self.is_last)
        lines = _lines(terms["billable"]["units"])
        corrections = []
        for each in self.corrections:
            late = self._terms(fresh, each["start"], each["end"]) | {"billed_units": each["billed_units"]}
            corrections.append(late)
            before, now = _overage(each["billed_units"]), _overage(late["billable"]["units"])
            lines.append(
                ("correction", "requests", now[0] - before[0], now[1] - before[1], late["period"]["id"])
            )
        total = sum(line[3] for line in lines)
        return {
            "format": "farebox-invoice",
            "version": 1,
            "invoice": {
                "id": "inv_1", "number": "FB-000001", "state": "finalized", "kind": "period",
                "currency": "USD",
                "period": {"start": terms["period"]["start"], "end": terms["period"]["end"]},
                "lines": [
                    {"position": position, "kind": kind, "charge_code": code, "description": "",
                     "quantity": str(quantity), "amount_minor": minor, "detail": {}, "of_period": period}
                    for position, (kind, code, quantity, minor, period) in enumerate(lines, start=1)
                ],
                "subtotal_minor": total, "tax_minor": 0, "total_minor": total,
                "basis": terms | {
                    "version": 1, "organization": {"id": f"org_{ORG}", "name": "Acme"}, "currency": "USD",
                    "minor_digits": 2, "tax": {"kind": "none"}, "corrections": corrections,
                    "retired_nodes": [], "statement_digest": digest,
                    "test_clock": [
                        {"began_at": rfc(ms(began)), "offset_ms": offset} for began, offset in self.clock
                    ],
                },
            },
            "statement": {"digest": digest, "body": body},
        }  # fmt: skip

    def export(self, document: dict[str, Any] | None = None) -> Path:
        """Write the document and return its path."""
        path = self.folder / "invoice.json"
        path.write_text(json.dumps(self.document() if document is None else document))
        return path

    def _own_time(self, line: dict[str, Any]) -> int:
        offsets = [offset for began, offset in self.clock if ms(began) <= line["ts"]]
        return int(line["ts"]) + (offsets[-1] if offsets else 0)

    def _terms(
        self,
        fresh: list[dict[str, Any]],
        start: str,
        end: str,
        *,
        is_first: bool = False,
        is_last: bool = False,
    ) -> dict[str, Any]:
        billable, excluded = [0, 0], Counter[str]()
        for line in fresh:
            now = self._own_time(line)
            inside = (is_first or now >= ms(start)) and (is_last or now < ms(end))
            if not inside or not line["boot"] or (line.get("org"), line.get("sub")) != (ORG, SUB):
                continue
            reason = _reason(line)
            if reason:
                excluded[reason] += line["units"]
            else:
                billable[0] += 1
                billable[1] += line["units"]
        return {
            "subscription": f"sub_{SUB}", "plan": "starter-1", "charges": deepcopy(STARTER),
            "time_zone": "UTC",
            "anchor_day": 1, "billable_rule": "served_v1",
            "period": {"id": f"per_{start}", "start": rfc(ms(start)), "end": rfc(ms(end)),
                       "is_first": is_first, "is_last": is_last},
            "billable": {"requests": billable[0], "units": billable[1]},
            "excluded": {reason: {"requests": 0, "units": units} for reason, units in excluded.items()},
        }  # fmt: skip

    def _statement(self, fresh: list[dict[str, Any]]) -> dict[str, Any]:
        streams = []
        for key in sorted({(line["node"], line["boot"], line["worker"]) for line in fresh if line["boot"]}):
            mine = [line for line in fresh if (line["node"], line["boot"], line["worker"]) == key]
            if not self._touched(mine):
                continue
            streams.append({
                "node": key[0], "boot": key[1], "worker": key[2],
                "highest": max(line["seq"] for line in mine),
                "gaps": [list(gap) for gap in self.gaps.get(key, [])],
                "first_at": rfc(min(line["ts"] for line in mine)),
                "last_at": rfc(max(line["ts"] for line in mine)),
            })  # fmt: skip
        return {
            "version": 1, "taken_at": rfc(ms(self.end)), "nodes": [],
            "since": None if self.since is None else rfc(ms(self.since)),
            "until": None if self.until is None else rfc(ms(self.until)),
            "streams": streams, "quarantined": 0,
            "missing_lines": sum(last - first + 1 for gaps in self.gaps.values() for first, last in gaps),
            "segments": [
                each for number, name in enumerate(self.files) for each in self._segments(number, name)
            ],
        }  # fmt: skip

    def _touched(self, lines: list[dict[str, Any]]) -> bool:
        times = [line["ts"] for line in lines]
        return (self.until is None or min(times) < ms(self.until)) and (
            self.since is None or max(times) >= ms(self.since)
        )

    def _segments(self, number: int, name: str) -> list[dict[str, Any]]:
        lines, offset, segments = self.files[name], 0, []
        for index in range(0, len(lines), self.segment_lines):
            part = lines[index : index + self.segment_lines]
            content = b"".join(line + b"\n" for line in part)
            parsed = [line for line in map(_parsed, part) if line is not None]
            times = [line["ts"] for line in parsed]
            if times and not self._touched(parsed):
                offset += len(content)
                continue
            segments.append({
                "node": name.partition(".")[0], "file": name, "file_id": number,
                "fingerprint": hashlib.sha256(lines[0]).hexdigest(), "start": offset,
                "end": offset + len(content), "sha256": hashlib.sha256(content).hexdigest(),
                "lines": len(part), "new": len(times), "duplicate": 0, "quarantined": len(part) - len(times),
                "first_at": rfc(min(times)) if times else None, "last_at": rfc(max(times)) if times else None,
                "sealed": True,
            })  # fmt: skip
            offset += len(content)
        return segments


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
        return line if isinstance(line, dict) and "ts" in line else None
    except ValueError:
        return None


def _reason(line: dict[str, Any]) -> str | None:
    if line.get("env") != "live":
        return "test_key"
    if line["outcome"] == "served":
        return "server_error" if line["status"] >= 500 else None
    if line["outcome"] == "client_closed":
        return "client_closed_before_answer" if line["status"] in {0, 499} else None
    return str(line["outcome"])


def _overage(units: int) -> tuple[int, int]:
    beyond = max(0, units - 100)
    return beyond, int((beyond * Decimal("1.5")).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _lines(units: int) -> list[tuple[str, str, int, int, str | None]]:
    beyond, minor = _overage(units)
    return [("charge", "base", 1, 1000, None), ("charge", "requests", beyond, minor, None)]
