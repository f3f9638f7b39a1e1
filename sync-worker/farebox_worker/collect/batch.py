"""What is committed in one piece: a stretch of one file's bytes, its lines, and the digests of the bytes.

Pure values between the reading of files and the writing of tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from farebox_worker.collect.lines import SCHEMA, Decoded

EXCERPT_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of `usage_files`. `read_offset` is how far it was read when the row was fetched."""

    id: int
    node: str
    fingerprint: bytes
    generation: int
    recounted_to: int
    path: str
    device: int
    inode: int
    read_offset: int
    ended: bool
    archived_as: str | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A line that could not be read: its place in the file, the reason, and its beginning."""

    start: int
    length: int
    reason: str
    excerpt: bytes


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a file from `start` to `end`, and what they did to the segment that they continue.

    `sha256` covers the segment from `segment_start` to `end`. `recounted` bytes were read before, in an
    earlier generation of the file: their lines without a stream are not counted again.
    """

    start: int
    end: int
    segment_start: int
    sha256: bytes
    sealed: bool
    recounted: bool
    decoded: Decoded
    quarantined: Sequence[Quarantined]


@dataclass(frozen=True, slots=True)
class Batch:
    """Adjoining stretches of one file, committed together."""

    file: FileRow
    stretches: Sequence[Stretch]

    @property
    def start(self) -> int:
        """The offset of the first byte."""
        return self.stretches[0].start

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.stretches[-1].end

    def frame(self) -> pl.DataFrame:
        """Return the lines of all stretches, in order, with the columns `stretch` and `recounted`."""
        return pl.concat(
            part.decoded.frame.drop("line").with_columns(
                pl.lit(number, dtype=pl.UInt32).alias("stretch"), pl.lit(part.recounted).alias("recounted")
            )
            for number, part in enumerate(self.stretches)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many lines were read, and what they were."""

    lines: int = 0
    new: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":
        """Add the two, each number to its own."""
        return Outcome(
            self.lines + other.lines,
            self.new + other.new,
            self.duplicate + other.duplicate,
            self.quarantined + other.quarantined,
        )


NO_LINES: Final = Decoded(0, pl.DataFrame(schema=SCHEMA), ())
