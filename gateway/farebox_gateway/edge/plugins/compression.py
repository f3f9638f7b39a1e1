"""`gzip` and `brotli` of APISIX: the answer's body made smaller for clients that say they can read it.

What the upstream has encoded itself, has no Content-Type, or is said to be shorter than `min_length` passes
as it is. A strong ETag becomes a weak one, for the bytes are others (RFC 9110, section 8.8.1).
"""

import re
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import brotli

from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import META, Headers, Place, Plugin
from farebox_gateway.edge.schema import CheckedSchema

_TYPES: Final = {
    "anyOf": [
        {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        {"enum": ["*"]},
    ],
    "default": ["text/html"],
}
_COMMON: Final = {
    "types": _TYPES,
    "min_length": {"type": "integer", "minimum": 1, "default": 20},
    "http_version": {"enum": [1.1, 1.0], "default": 1.1},
    "vary": {"type": "boolean"},
    "_meta": META,
}
_GZIP_WINDOW: Final = 31
_NO_BODY: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Compressing:
    """A compiled configuration; `types` of none is every type."""

    types: frozenset[str] | None
    min_length: int
    version: tuple[int, int]
    vary: bool
    level: int
    mode: int = 0
    window: int = 19
    block: int = 0


class GzipFilter:
    """One body in gzip. What came is given on at once, so that a stream stays one."""

    def __init__(self, level: int) -> None:
        self._compressor = zlib.compressobj(level, wbits=_GZIP_WINDOW)

    def feed(self, data: bytes) -> bytes:
        """Compress a piece."""
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        """End."""
        return self._compressor.flush()


class BrotliFilter:
    """One body in brotli."""

    def __init__(self, conf: Compressing) -> None:
        self._compressor = brotli.Compressor(
            mode=conf.mode, quality=conf.level, lgwin=conf.window or 22, lgblock=conf.block
        )

    def feed(self, data: bytes) -> bytes:
        """Compress a piece."""
        found: bytes = self._compressor.process(data) + self._compressor.flush()
        return found

    def finish(self) -> bytes:
        """End."""
        found: bytes = self._compressor.finish()
        return found


class Gzip(Plugin):
    """See the module."""

    name: ClassVar = "gzip"
    priority: ClassVar = 995
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    **_COMMON,
                    "comp_level": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
                    "buffers": {
                        "type": "object",
                        "properties": {
                            "number": {"type": "integer", "minimum": 1, "default": 32},
                            "size": {"type": "integer", "minimum": 1, "default": 4096},
                        },
                        "default": {"number": 32, "size": 4096},
                    },
                },
                "additionalProperties": False,
            }
        )
    }

    def compile(self, place: Place, conf: dict[str, Any]) -> Compressing:
        """Prepare what each answer needs."""
        del place
        return _compiled(conf)

    def header_filter(self, exchange: Passage, conf: Compressing, headers: Headers) -> Headers:
        """Compress the answer, if this one is to be."""
        if not _concerns(exchange, conf, headers):
            return headers
        vary = [(b"Vary", b"Accept-Encoding")] if conf.vary else []
        if not accepts(exchange.headers.get("Accept-Encoding"), "gzip"):
            return headers + vary
        exchange.body_filters.append(GzipFilter(conf.level))
        return _encoded(exchange, headers, b"gzip") + vary


class Brotli(Plugin):
    """See the module. It goes before `gzip`: of two encodings that a client reads it is the smaller."""

    name: ClassVar = "brotli"
    priority: ClassVar = 996
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    **_COMMON,
                    "mode": {"type": "integer", "minimum": 0, "maximum": 2, "default": 0},
                    "comp_level": {"type": "integer", "minimum": 0, "maximum": 11, "default": 6},
                    "lgwin": {"type": "integer", "default": 19, "enum": [0, *range(10, 25)]},
                    "lgblock": {"type": "integer", "default": 0, "enum": [0, *range(16, 25)]},
                },
                "additionalProperties": False,
            }
        )
    }

    def compile(self, place: Place, conf: dict[str, Any]) -> Compressing:
        """Prepare what each answer needs."""
        del place
        return _compiled(conf)

    def header_filter(self, exchange: Passage, conf: Compressing, headers: Headers) -> Headers:
        """Compress the answer, if this one is to be."""
        if not accepts(exchange.headers.get("Accept-Encoding"), "br"):
            return headers
        if not _concerns(exchange, conf, headers):
            return headers
        exchange.body_filters.append(BrotliFilter(conf))
        vary = [(b"Vary", b"Accept-Encoding")] if conf.vary else []
        return _encoded(exchange, headers, b"br") + vary


def accepts(header: str | None, coding: str) -> bool:
    """Return whether an Accept-Encoding allows a content coding (RFC 9110, section 12.5.3)."""
    starred = False
    for part in (header or "").split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
        if name == coding:
            return not refused
        starred |= name == "*" and not refused
    return starred


def _compiled(conf: dict[str, Any]) -> Compressing:
    return Compressing(
        types=None if conf["types"] == "*" else frozenset(conf["types"]),
        min_length=conf["min_length"],
        version=(1, 0) if conf["http_version"] == 1.0 else (1, 1),
        vary=conf.get("vary", False),
        level=conf["comp_level"],
        mode=conf.get("mode", 0),
        window=conf.get("lgwin", 0),
        block=conf.get("lgblock", 0),
    )


def _concerns(exchange: Passage, conf: Compressing, headers: Headers) -> bool:
    if exchange.request.version < conf.version or exchange.status in _NO_BODY:
        return False
    found = {name.lower(): value for name, value in headers}
    kind = found.get(b"content-type")
    if kind is None or b"content-encoding" in found:
        return False
    if conf.types is not None and kind.split(b";")[0].strip().decode("latin-1") not in conf.types:
        return False
    length = found.get(b"content-length", b"")
    return not length.isdigit() or int(length) >= conf.min_length


def _encoded(exchange: Passage, headers: Headers, coding: bytes) -> Headers:
    exchange.resized = True
    kept: Headers = []
    for name, value in headers:
        key = name.lower()
        if key == b"etag":
            if value.startswith(b'"') and value.endswith(b'"'):
                kept.append((name, b"W/" + value))
            elif value.startswith(b'W/"'):
                kept.append((name, value))
        elif key not in {b"content-length", b"accept-ranges"}:
            kept.append((name, value))
    return [*kept, (b"Content-Encoding", coding)]
