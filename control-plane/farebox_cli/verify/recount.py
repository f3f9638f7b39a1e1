"""One pass over the files: every line once, counted towards the periods that the invoice bills.

Memory does not grow with the lines: a stream is remembered as ranges, a period as a few sums.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from farebox_cli.verify import files
from farebox_cli.verify.calendar import TestClock
from farebox_cli.verify.document import Proof, Segment, Terms
from farebox_cli.verify.files import LogFile, Reading
from farebox_cli.verify.lines import RULES, Line, Malformed, read
from farebox_cli.verify.meters import Gauge
from farebox_cli.verify.streams import Seen

StreamKey = tuple[str, str, int]
_MOST_NAMED: Final = 5


@dataclass(slots=True)
class Counted:
    """What one period's lines came to: requests and units that are billable, and the rest by reason."""

    terms: Terms
    requests: int = 0
    units: int = 0
    excluded: Counter[str] = field(default_factory=Counter)
    gauges: list[Gauge] = field(default_factory=list)

    @property
    def meters(self) -> dict[str, int]:
        """What each meter came to, an operator's corrections included."""
        counted = {"units": self.units, "requests": self.requests}
        counted |= {gauge.code: gauge.quantity for gauge in self.gauges}
        for meter, quantity in self.terms.usage_corrections:
            if meter in counted:
                counted[meter] += quantity
        return counted

    def holds(self, instant: int) -> bool:
        """Whether the instant (organization's time) is this period's; the first and the last reach beyond."""
        return (self.terms.is_first or instant >= self.terms.start) and (
            self.terms.is_last or instant < self.terms.end
        )

    def take(self, line: Line) -> None:
        """Count the line by the period's rule."""
        reason = RULES[self.terms.rule](line)
        if reason is None:
            self.requests += 1
            self.units += line.units
            for gauge in self.gauges:
                gauge.take(line)
        else:
            self.excluded[reason] += line.units


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no usage line, by its number in the file (from 1)."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Damage:
    """A segment whose bytes are not what the statement says. `lines` are the numbers of its first and last
    line in the file; `malformed` the first few of them that no longer parse.
    """

    segment: Segment
    path: Path
    found_bytes: int
    found_sha256: str
    lines: tuple[int, int]
    malformed: Sequence[BadLine]


@dataclass(slots=True)
class Recount:
    """Everything that the pass has found."""

    periods: list[Counted]
    streams: dict[StreamKey, Seen] = field(default_factory=lambda: defaultdict(Seen))
    lines: int = 0
    duplicates: int = 0
    segments: int = 0
    damaged: list[Damage] = field(default_factory=list)
    miscounted: list[tuple[Segment, int, int]] = field(default_factory=list)
    """Whole segments with other numbers of lines or of malformed lines than stated: (segment, lines, bad)."""
    missing: list[Segment] = field(default_factory=list)


def recount(proof: Proof, logs: Iterable[LogFile]) -> Recount:
    """Read all given segments. Raises `OSError`, `EOFError` if a file is damaged as such."""
    result = Recount(
        [
            Counted(terms, gauges=[Gauge(each) for each in terms.meters])
            for terms in (proof.terms, *proof.corrections)
        ]
    )
    by_subscription: defaultdict[str, list[Counted]] = defaultdict(list)
    for counted in result.periods:
        by_subscription[counted.terms.subscription].append(counted)
    for log in logs:
        for segment in log.segments:
            if log.path is None:
                result.missing.append(segment)
                continue
            result.segments += 1
            _read_segment(log.path, segment, proof, by_subscription, result)
    return result


def needed(segment: Segment, terms: Terms, clock: TestClock) -> bool:
    """Whether lines of the period may lie in the segment."""
    if segment.first_at is None or segment.last_at is None:
        return False
    return (terms.is_last or clock.at(segment.first_at) < terms.end) and (
        terms.is_first or clock.at(segment.last_at) >= terms.start
    )


def _read_segment(
    path: Path,
    segment: Segment,
    proof: Proof,
    by_subscription: defaultdict[str, list[Counted]],
    result: Recount,
) -> None:
    reading = Reading()
    malformed: list[tuple[int, str]] = []
    index, bad = 0, 0
    for index, raw in enumerate(files.lines(path, segment, reading), start=1):
        try:
            line = read(raw)
        except Malformed as error:
            bad += 1
            if len(malformed) < _MOST_NAMED:
                malformed.append((index, str(error)))
            continue
        _count(line, proof, by_subscription, result)
    result.lines += index
    if reading.sha256 != segment.sha256:
        first = files.line_number(path, segment.start)
        named = [BadLine(first + at - 1, reason) for at, reason in malformed]
        result.damaged.append(
            Damage(segment, path, reading.length, reading.sha256, (first, first + max(index, 1) - 1), named)
        )
    elif (index, bad) != (segment.lines, segment.quarantined):
        result.miscounted.append((segment, index, bad))


def _count(
    line: Line, proof: Proof, by_subscription: defaultdict[str, list[Counted]], result: Recount
) -> None:
    if not line.boot:
        return  # No stream, no owner: nothing tells a doubled line from a new one, so nobody is billed by it.
    if not result.streams[line.node, line.boot, line.worker].add(line.seq, line.ts):
        result.duplicates += 1
        return
    if line.organization != proof.organization or line.subscription is None:
        return
    instant = proof.clock.at(line.ts)
    for counted in by_subscription.get(line.subscription, ()):
        if counted.holds(instant):
            counted.take(line)
