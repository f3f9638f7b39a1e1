"""The one HTTP client of all upstreams, which sends header bytes on as they came.

aiohttp reads header bytes that are no UTF-8 as lone surrogates, and leaves these out when it writes: Latin-1
in a cookie would lose letters, and a signature over headers its validity. Its writer has no seam for this, so
its one function that makes a head is replaced here, for heads that are not plain ASCII.
"""

from typing import Final

import aiohttp
from aiohttp import ClientSession, http_writer
from multidict import CIMultiDict

_AUTOMATIC: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_ENDS_A_LINE: Final = frozenset("\r\n\0")
_plain_head = http_writer._serialize_headers  # noqa: SLF001  # see the module


def open_session(max_head_bytes: int) -> ClientSession:
    """Return a client whose connections are kept and limited by nothing but need."""
    http_writer._serialize_headers = exact_head  # noqa: SLF001  # see the module
    return ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, enable_cleanup_closed=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_AUTOMATIC,
        max_line_size=max_head_bytes,
        max_field_size=4 * max_head_bytes,
        trust_env=False,
    )


def exact_head(status_line: str, headers: CIMultiDict[str]) -> bytes:
    """Return a head with its empty line. Raises `ValueError` for what would end a line before its time."""
    if status_line.isascii() and "".join(headers.values()).isascii():
        return _plain_head(status_line, headers)
    lines = [status_line, *(f"{name}: {value}" for name, value in headers.items())]
    if any(_ENDS_A_LINE.intersection(line) for line in lines):
        raise ValueError("a header holds a character that ends its line")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
