"""Answers kept in memory up to a bound, by key and, where they vary, by the headers that they vary with.

It knows nothing of requests: a header is read through a function. The answers used longest ago go first.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_MOST_VARIANTS: Final = 64
_OVERHEAD_BYTES: Final = 512
ReadHeader = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """One answer; `stored` is Unix seconds, `ttl` seconds."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    stored: float
    ttl: float

    @property
    def size(self) -> int:
        """About how much memory it takes."""
        return len(self.body) + sum(len(n) + len(v) for n, v in self.headers) + _OVERHEAD_BYTES


@dataclass(slots=True)
class _Page:
    """All answers under one key. Without `vary` there is one, under the empty signature."""

    vary: tuple[str, ...] = ()
    variants: OrderedDict[str, CachedAnswer] = field(default_factory=OrderedDict)

    @property
    def size(self) -> int:
        return sum(answer.size for answer in self.variants.values())


class CachedAnswers:
    """See the module."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self.bytes = 0

    def find(self, key: str, header: ReadHeader) -> tuple[CachedAnswer | None, bool]:
        """Return the answer for a key and the request's headers, and whether there is one too old."""
        page = self._pages.get(key)
        answer = None if page is None else page.variants.get(_signature(page.vary, header))
        if answer is None:
            return None, False
        if time.time() - answer.stored > answer.ttl:
            return None, True
        self._pages.move_to_end(key)
        return answer, False

    def put(self, key: str, header: ReadHeader, answer: CachedAnswer) -> None:
        """Keep an answer. Where an answer varies otherwise than those before it, these are forgotten."""
        vary = _vary(answer)
        page = self._pages.get(key)
        if page is None or page.vary != vary:
            self.purge(key)
            page = self._pages[key] = _Page(vary)
        self.bytes -= page.size
        page.variants[_signature(vary, header)] = answer
        while len(page.variants) > _MOST_VARIANTS:
            page.variants.popitem(last=False)
        self.bytes += page.size
        self._pages.move_to_end(key)
        while self.bytes > self._max_bytes and self._pages:
            self.purge(next(iter(self._pages)))

    def purge(self, key: str) -> bool:
        """Forget all under a key; return whether there was anything."""
        page = self._pages.pop(key, None)
        if page is None:
            return False
        self.bytes -= page.size
        return True


def _vary(answer: CachedAnswer) -> tuple[str, ...]:
    names = b",".join(value for name, value in answer.headers if name.lower() == b"vary")
    return tuple(sorted({part.strip().decode("latin-1").lower() for part in names.split(b",")} - {""}))


def _signature(vary: tuple[str, ...], header: ReadHeader) -> str:
    if not vary:
        return ""
    text = "\0".join(header(name) or "" for name in vary)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
