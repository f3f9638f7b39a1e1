"""Whether the streams are whole: every number was read, or is declared missing, and not both.

The statement covers a stretch of time and names the files of that stretch. A stream that lived within it must
be whole from its first number. Of a stream that reaches beyond, other numbers lie in files that the statement
does not name; there only a hole between two lines of the stretch is held against it. A stream that lived
outside may have lines in these files too, and the statement does not speak of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from farebox_cli.verify.document import Proof, Stream
from farebox_cli.verify.recount import Recount
from farebox_cli.verify.streams import Seen, overlap, without

Ranges = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Break:
    """Numbers of a stream that contradict the statement, and how."""

    stream: str
    problem: str
    numbers: Ranges


def breaks(proof: Proof, result: Recount) -> Iterator[Break]:
    """Yield every contradiction between what was read and what is declared."""
    declared = {(stream.node, stream.boot, stream.worker): stream for stream in proof.streams}
    for key, seen in sorted(result.streams.items()):
        if key not in declared and seen.touches(proof.since, proof.until):
            yield Break("/".join(map(str, key)), "is not in the statement", seen.ranges)
    for key, stream in declared.items():
        seen = result.streams.get(key, Seen())
        gaps = sorted(stream.gaps)
        both = overlap(seen.ranges, gaps)
        if both:
            yield Break(stream.name, "was read although it is declared missing", both)
        if seen.highest > stream.highest:
            beyond = overlap(seen.ranges, [(stream.highest + 1, seen.highest)])
            yield Break(stream.name, "was read although it lies above the declared end", beyond)
        if not result.missing:
            lost = _lost(proof, stream, seen, gaps)
            if lost:
                yield Break(stream.name, "was neither read nor declared missing", lost)


def _lost(proof: Proof, stream: Stream, seen: Seen, gaps: Ranges) -> Ranges:
    whole = _within(proof, stream.first_at) and _within(proof, stream.last_at)
    holes = [
        (hole.first, hole.last)
        for hole in seen.holes()
        if whole or (hole.after is not None and _within(proof, hole.after) and _within(proof, hole.before))
    ]
    if whole and seen.highest < stream.highest:
        holes.append((seen.highest + 1, stream.highest))
    return [part for hole in holes for part in without(hole, gaps)]


def _within(proof: Proof, instant: int) -> bool:
    return (proof.since is None or instant >= proof.since) and (proof.until is None or instant < proof.until)
