"""What the invoice claims beside what was derived, check by check."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from farebox_cli.verify import calendar, expectation, rating
from farebox_cli.verify.continuity import Ranges, breaks
from farebox_cli.verify.document import InvoiceLine, Proof, Terms
from farebox_cli.verify.expectation import Expected
from farebox_cli.verify.lines import RULES
from farebox_cli.verify.rating import UnratableError
from farebox_cli.verify.recount import Counted, Damage, Recount, needed

State = Literal["equal", "differs", "unchecked", "note"]


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. `claimed` and `derived` are numbers or texts where there are two to compare."""

    name: str
    state: State
    text: str
    claimed: Any = None
    derived: Any = None


def all_checks(proof: Proof, result: Recount) -> list[Check]:
    """Compare everything. The order is the order of the argument: bytes, lines, units, money."""
    return [
        *_statement(proof),
        *_segments(proof, result),
        *_streams(proof, result),
        *_nodes(proof),
        *(check for terms in (proof.terms, *proof.corrections) for check in _edges(terms)),
        *(check for counted in result.periods for check in _quantities(proof, result, counted)),
        *_money(proof, result),
    ]


def known_rules(proof: Proof) -> Iterator[Check]:
    """Name the billable rules that are not known here: nothing can be counted by them."""
    for rule in sorted({terms.rule for terms in (proof.terms, *proof.corrections)} - RULES.keys()):
        yield Check("rule", "unchecked", f"the billable rule {rule!r} is not known to this version")


def _compare(name: str, what: str, claimed: Any, derived: Any) -> Check:
    if claimed == derived:
        return Check(name, "equal", f"{what}: {_shown(derived)}", claimed, derived)
    text = f"{what}: the invoice says {_shown(claimed)}, derived {_shown(derived)}"
    return Check(name, "differs", text, claimed, derived)


def _statement(proof: Proof) -> Iterator[Check]:
    for claimed in proof.claimed_digests:
        if claimed != proof.statement_digest:
            yield _compare("statement", "digest of the statement", claimed, proof.statement_digest)
            return
    yield Check("statement", "equal", f"the statement has the digest that the invoice names: {claimed[:16]}…")


def _segments(proof: Proof, result: Recount) -> Iterator[Check]:
    for damage in result.damaged:
        yield Check("segment", "differs", _damage(damage), damage.segment.sha256, damage.found_sha256)
    for segment, lines, bad in result.miscounted:
        yield _compare(
            "segment",
            f"{segment.name}: lines and malformed lines",
            [segment.lines, segment.quarantined],
            [lines, bad],
        )
    periods = (proof.terms, *proof.corrections)
    for segment in result.missing:
        if any(needed(segment, terms, proof.clock) for terms in periods):
            yield Check("segment", "unchecked", f"{segment.name}: no given file holds it; give it to --lines")
    spare = sum(not any(needed(each, terms, proof.clock) for terms in periods) for each in result.missing)
    if spare:
        yield Check("segment", "note", f"{spare} segments without lines of these periods were not given")
    if result.segments and not result.damaged:
        yield Check(
            "segment",
            "equal",
            f"{result.segments:,} segments with {result.lines:,} lines are to the byte what was metered",
        )


def _damage(damage: Damage) -> str:
    segment = damage.segment
    first, last = damage.lines
    text = f"{segment.name} (lines {first} to {last} of {damage.path}): not the bytes that were metered"
    if damage.found_bytes < segment.end - segment.start:
        text += f"; the file ends {segment.end - segment.start - damage.found_bytes} bytes too early"
    for line in damage.malformed:
        text += f"; line {line.number} is no usage line: {line.reason}"
    return text


def _streams(proof: Proof, result: Recount) -> Iterator[Check]:
    found = list(breaks(proof, result))
    for each in found:
        yield Check("stream", "differs", f"{each.stream}: {_ranges(each.numbers)} {each.problem}")
    lost = sum(last - first + 1 for stream in proof.streams for first, last in stream.gaps)
    yield _compare("stream", "lines declared lost", proof.missing_lines, lost)
    if result.missing:
        yield Check("stream", "note", "streams were not checked for holes, because not all files were given")
    elif not found:
        text = f"{len(proof.streams):,} streams: every number was read once or is declared lost"
        yield Check("stream", "equal", f"{text}; {result.duplicates:,} doubled lines were counted once")


def _nodes(proof: Proof) -> Iterator[Check]:
    for node in proof.retired_nodes:
        yield Check(
            "node", "note", f"node {node} was given up with its log unread to the end; the invoice says so"
        )


def _edges(terms: Terms) -> Iterator[Check]:
    rule = {"time_zone": terms.time_zone, "anchor_day": terms.anchor_day}
    try:
        begins = terms.is_first or calendar.is_edge(terms.start, **rule)  # type: ignore[arg-type]
        following = calendar.next_edge(terms.start, **rule)  # type: ignore[arg-type]
    except (LookupError, ValueError) as error:
        yield Check("period", "unchecked", f"the period's edges cannot be derived: {error}")
        return
    text = f"{calendar.shown(terms.start)} to {calendar.shown(terms.end)}"
    how = f"anchor day {terms.anchor_day} in {terms.time_zone}"
    if terms.kind != "regular":
        yield Check("period", "note", f"period {text}: {terms.kind}, it owes nothing")
    elif terms.end <= following if terms.is_last else terms.end == following:
        yield Check("period", "equal", f"period {text}: edges of {how}")
        if not begins:
            yield Check("period", "note", "it begins off those edges, as after a trial or a pause")
    else:
        yield Check("period", "differs", f"period {text}: not the edges of {how}")


def _quantities(proof: Proof, result: Recount, counted: Counted) -> Iterator[Check]:
    terms = counted.terms
    name = f"sub_{terms.subscription} from {calendar.shown(terms.start)}"
    if not _is_whole(proof, result, terms):
        yield Check("units", "unchecked", f"{name}: units cannot be counted without the files named above")
        return
    yield _compare("requests", f"{name}: billable requests", terms.claimed_requests, counted.requests)
    yield _compare("units", f"{name}: billable units", terms.claimed_units, counted.units)
    for reason in sorted(terms.claimed_excluded.keys() | counted.excluded.keys()):
        claimed = terms.claimed_excluded.get(reason, 0)
        yield _compare("excluded", f"{name}: excluded as {reason}", claimed, counted.excluded[reason])
    for meter, claimed in sorted(terms.claimed_meters.items()):
        if meter not in {"units", "requests"} or terms.usage_corrections:
            derived = counted.meters.get(meter)
            yield _compare("meter", f"{name}: meter {meter}", claimed, derived)
    for meter, quantity in terms.usage_corrections:
        text = f"{name}: an operator added {quantity} to {meter}; the files cannot show it"
        yield Check("correction", "note", text)


def _money(proof: Proof, result: Recount) -> Iterator[Check]:
    yield _compare("money", "minor digits", proof.minor_digits, rating.minor_digits(proof.currency))
    expected: list[Expected] = []
    try:
        for counted in result.periods:
            is_whole = _is_whole(proof, result, counted.terms)
            expected += expectation.lines(counted.terms, counted, proof.currency, is_whole=is_whole)
        taxes = expectation.taxes(proof, sum(each.minor for each in expected))
    except (UnratableError, LookupError, ValueError) as error:
        yield Check("line", "unchecked", f"the charges cannot be rated: {error}")
        return
    expected += expectation.included_tax(proof, taxes)
    if len(expected) != len(proof.lines):
        yield _compare("line", "number of lines", len(proof.lines), len(expected))
    for position, (line, derived) in enumerate(zip(proof.lines, expected, strict=False), start=1):
        yield _line(position, line, derived, proof)
    subtotal, tax = sum(each.minor for each in expected), sum(taxes)
    for claimed, minor in zip(proof.taxes, taxes, strict=True):
        yield _compare(
            "tax",
            f"{claimed.name} {claimed.rate} %, {claimed.kind}",
            f"{_money_text(proof, claimed.minor)} of {_money_text(proof, claimed.base)}",
            f"{_money_text(proof, minor)} of {_money_text(proof, subtotal)}",
        )
    yield _compare("money", "subtotal", _money_text(proof, proof.subtotal), _money_text(proof, subtotal))
    yield _compare("money", "tax", _money_text(proof, proof.tax), _money_text(proof, tax))
    yield _compare("money", "total", _money_text(proof, proof.total), _money_text(proof, subtotal + tax))


def _line(position: int, line: InvoiceLine, derived: Expected, proof: Proof) -> Check:
    claimed = [line.kind, line.code, line.of_period]
    found = [derived.kind, derived.code, derived.period]
    if claimed != found:
        return _compare("line", f"line {position}", claimed, found)
    return _compare(
        "line",
        f"line {position}, {derived.kind} {derived.code}",
        f"{line.quantity} for {_money_text(proof, line.minor)}",
        f"{_decimal(derived.quantity)} for {_money_text(proof, derived.minor)}",
    )


def _is_whole(proof: Proof, result: Recount, terms: Terms) -> bool:
    return not any(needed(segment, terms, proof.clock) for segment in result.missing)


def _money_text(proof: Proof, minor: int) -> str:
    digits = rating.minor_digits(proof.currency)
    whole, rest = divmod(abs(minor), 10**digits)
    text = f"{whole}.{rest:0{digits}d}" if digits else str(whole)
    return f"{proof.currency} {'-' if minor < 0 else ''}{text}"


def _decimal(number: Fraction) -> str:
    """Write a fraction that is a finite decimal of at most 6 digits."""
    sign, (whole, rest) = "-" if number < 0 else "", divmod(abs(number) * 10**6, 10**6)
    return f"{sign}{whole}" if not rest else f"{sign}{whole}.{int(rest):06d}".rstrip("0")


def _shown(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def _ranges(numbers: Ranges) -> str:
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in numbers[:5]]
    return f"number {', '.join(texts)}{' and more' if len(numbers) > 5 else ''}"
