"""Which of the given files is which, and the bytes of the stretches that the proof names.

A file is known by the SHA-256 of its first line, whatever it is called now and whether it is compressed. If
that line itself was changed, the file's name is the second way to know it.
"""

import gzip
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Final, cast

from farebox_cli.verify.document import Segment

_CHUNK: Final = 1024 * 1024
_FIRST_LINE: Final = 65_536
_LONGEST: Final = 65_536
"""Of an overlong line no more is kept than this; it is malformed at a quarter of it."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of the statement: its segments in order, and the given file that holds them, if any does."""

    segments: Sequence[Segment]
    path: Path | None


@dataclass(slots=True)
class Reading:
    """What a segment's bytes came to, once its lines have been read to the end."""

    length: int = 0
    sha256: str = ""


def given(paths: Iterable[Path]) -> list[Path]:
    """Return the files at the paths, and of a folder all files in it, by name."""
    found: list[Path] = []
    for path in paths:
        found += sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return found


def match(segments: Iterable[Segment], paths: Sequence[Path]) -> list[LogFile]:
    """Find for each file of the statement the given file that holds it. Raises `OSError`, `EOFError`."""
    groups: defaultdict[int, list[Segment]] = defaultdict(list)
    for segment in segments:
        groups[segment.file_id].append(segment)
    by_fingerprint: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_fingerprint[_fingerprint(path)].append(path)
    found = _by_first_line(groups, by_fingerprint)
    for file_id, group in groups.items():
        if found.get(file_id) is None:
            found[file_id] = _by_name(group[0], [path for path in paths if path not in found.values()])
    return [LogFile(group, found[file_id]) for file_id, group in groups.items()]


def lines(path: Path, segment: Segment, reading: Reading) -> Iterator[bytes]:
    """Yield the segment's lines without their newlines; `reading` is filled once they are all taken.

    A line longer than 64 KiB is cut there. Raises `OSError`, `EOFError` if the file is damaged.
    """
    digest, rest = hashlib.sha256(), b""
    for chunk in _chunks(path, segment):
        digest.update(chunk)
        reading.length += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        rest = rest[:_LONGEST]
    if rest:
        yield rest
    reading.sha256 = digest.hexdigest()


def line_number(path: Path, offset: int) -> int:
    """Return the number, from 1, of the line that begins at `offset`."""
    with _open(path) as file:
        left, newlines = offset, 0
        while left and (chunk := file.read(min(_CHUNK, left))):
            newlines += chunk.count(b"\n")
            left -= len(chunk)
    return newlines + 1


def _chunks(path: Path, segment: Segment) -> Iterator[bytes]:
    with _open(path) as file:
        file.seek(segment.start)
        left = segment.end - segment.start
        while left and (chunk := file.read(min(_CHUNK, left))):
            yield chunk
            left -= len(chunk)


def _by_first_line(
    groups: Mapping[int, list[Segment]], candidates: Mapping[str, Sequence[Path]]
) -> dict[int, Path | None]:
    """Where several files begin with the same line (copies, a log that was cut and begun again), those whose
    beginning is to the byte as stated are found first; what is left over goes to who is left.
    """
    found: dict[int, Path | None] = {}
    for group in groups.values():
        group.sort(key=lambda segment: segment.start)
    for is_exact in (True, False):
        for file_id, group in groups.items():
            paths = [
                path
                for path in candidates.get(group[0].fingerprint, ())
                if is_exact or path not in found.values()
            ]
            if file_id not in found and paths:
                exact = (path for path in paths if _holds(path, group[0]))
                chosen = next(exact, None) if is_exact else paths[0]
                if chosen is not None:
                    found[file_id] = chosen
    return found


def _holds(path: Path, segment: Segment) -> bool:
    digest = hashlib.sha256()
    for chunk in _chunks(path, segment):
        digest.update(chunk)
    return digest.hexdigest() == segment.sha256


def _by_name(segment: Segment, paths: Sequence[Path]) -> Path | None:
    wanted = _plain_name(segment.file)
    alike = [path for path in paths if _plain_name(path.name) == wanted]
    return alike[0] if len(alike) == 1 else None


def _plain_name(name: str) -> str:
    return PurePath(name).name.removesuffix(".gz")


def _fingerprint(path: Path) -> str:
    with _open(path) as file:
        return hashlib.sha256(file.read(_FIRST_LINE).partition(b"\n")[0]).hexdigest()


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    # A usage line begins with a brace, so a plain log never looks compressed.
    compressed = file.read(2) == b"\x1f\x8b"
    if not compressed:
        file.seek(0)
        return file
    file.close()
    return cast("BinaryIO", gzip.open(path, "rb"))
