"""Heads of answers as bytes, and the object by which aiohttp is told that an answer has been sent.

The gateway writes heads itself, because an upstream's headers must pass byte for byte and the usage line has
to be written between the answer's first and its last byte.
"""

from collections.abc import Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

SERVER: Final = b"Server: farebox\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1, and those that its predecessors named."""
_NOT_PASSED: Final = HOP_BY_HOP | {b"server", b"date"}
_LIMIT_HEADERS: Final = frozenset(
    {
        b"x-ratelimit-limit",
        b"x-ratelimit-remaining",
        b"x-ratelimit-reset",
        b"ratelimit",
        b"ratelimit-policy",
    }
)
_NOT_PASSED_WITH_LIMITS: Final = _NOT_PASSED | _LIMIT_HEADERS
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus} | {
    499: b"Client Closed Request",
    503: b"Service Temporarily Unavailable",
    504: b"Gateway Time-out",
}
"""As nginx says them."""

Headers = Iterable[tuple[bytes, bytes]]


class Sent(web.StreamResponse):
    """Tells aiohttp that the answer is out, and whether the connection may be used again."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._reusable = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """Whether the next request may come on this connection."""
        return self._reusable

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Do nothing: the head has been sent."""
        del request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the body has been sent."""
        del data


class Clock:
    """The Date header, made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self, now_ms: int) -> bytes:
        """Return the header line for a time in Unix milliseconds."""
        second = now_ms // 1000
        if second != self._second:
            self._second = second
            self._line = b"Date: " + formatdate(second, usegmt=True).encode() + b"\r\n"
        return self._line


def head(
    status: int,
    reason: bytes,
    headers: Headers,
    own: Mapping[bytes, tuple[bytes, bytes]],
    limit_lines: bytes,
    *,
    date: bytes,
    framing: bytes,
) -> bytes:
    """Return a head: the upstream's `headers` without hop-by-hop ones and without those in `own`, then `own`.

    `limit_lines` are whole lines of headers that then are this hop's alone too; `framing` is the lines that
    this hop adds (`Transfer-Encoding`, `Connection`).
    """
    dropped = _NOT_PASSED_WITH_LIMITS if limit_lines else _NOT_PASSED
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, reason), date, SERVER]
    for name, value in headers:
        key = name.lower()
        if key not in dropped and key not in own:
            lines.append(b"%b: %b\r\n" % (name, value))
    for name, value in own.values():
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(limit_lines)
    lines.append(framing)
    lines.append(b"\r\n")
    return b"".join(lines)


def reason_of(status: int) -> bytes:
    """Return the reason phrase of a status that the gateway gives itself."""
    return _REASONS.get(status, b"")
