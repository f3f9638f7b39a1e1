"""The SHA-256 of a segment that grows: of its bytes so far, at any moment, without reading them again."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from farebox_worker.collect.sources import Source

SEAL_BYTES: Final = 8 * 1024 * 1024
"""A segment this long is sealed and the next begins. A restart reads an open segment again: not more than
one chunk beyond this."""
_STEP: Final = 1024 * 1024


@dataclass(slots=True)
class Digest:
    """The open segment of a file: where it starts and ends, and the hash of what lies between."""

    start: int
    end: int
    _hash: Any = field(default_factory=hashlib.sha256)

    def take(self, data: bytes) -> None:
        """Lengthen the segment by `data`."""
        self._hash.update(data)
        self.end += len(data)

    def value(self) -> bytes:
        """Return the SHA-256 of the bytes so far."""
        return bytes(self._hash.digest())

    @property
    def full(self) -> bool:
        """Whether the segment is long enough to be sealed."""
        return self.end - self.start >= SEAL_BYTES

    def following(self) -> "Digest":
        """Return the empty segment that begins where this one ends."""
        return Digest(self.end, self.end)


def digest_of(source: Source, start: int, end: int) -> Digest:
    """Read the bytes from `start` to `end` again; fewer if the file is shorter."""
    digest = Digest(start, start)
    while digest.end < end and (data := source.read(digest.end, min(_STEP, end - digest.end))):
        digest.take(data)
    return digest
