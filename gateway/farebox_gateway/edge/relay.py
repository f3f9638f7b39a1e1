"""An upstream's answer on its way to the client, streamed; the usage line goes before its last bytes."""

from typing import Final, Protocol, TypeVar

from aiohttp import ClientError, ClientResponse, hdrs
from aiohttp.web_request import BaseRequest

from farebox_gateway.edge import answer
from farebox_gateway.edge.passage import Passage

Headers = list[tuple[bytes, bytes]]
_NO_BODY: Final = frozenset({204, 304})
P = TypeVar("P", bound=Passage)
P_contra = TypeVar("P_contra", bound=Passage, contravariant=True)


class Side(Protocol[P_contra]):
    """What an answer needs of its caller."""

    def keeps_alive(self, exchange: P_contra) -> bool:
        """Whether the client's connection stays open."""

    def head(
        self, exchange: P_contra, reason: bytes, headers: answer.Headers, framing: bytes, *, keep: bool
    ) -> bytes:
        """Make a head."""

    def filter_headers(self, exchange: P_contra, headers: Headers) -> Headers:
        """Let the plugins see the answer's headers."""

    def finish(self, exchange: P_contra) -> None:
        """Write the usage line."""


async def relay(exchange: P, response: ClientResponse, side: Side[P]) -> None:
    """Send the answer on as it comes; the line goes before its last bytes."""
    request, content = exchange.request, response.content
    data, chunked = _answer_head(exchange, response, side)
    silent = request.method == "HEAD"
    filters = () if silent else exchange.body_filters
    try:
        chunk = b"" if content.at_eof() else content.read_nowait()
        while True:
            last = content.at_eof()
            if silent:
                chunk = b""
            if filters:
                chunk = filtered(exchange, chunk, last=last)
            if chunked:
                data += _chunk(chunk, last=last)
            else:
                data += chunk
            exchange.sent += len(data)
            if last:
                side.finish(exchange)
            if data:
                write(request, data)
                await request.writer.drain()
            if last:
                return
            data = b""
            chunk = await content.readany()
    except (ClientError, TimeoutError) as error:
        # The head is out: the honest end is to break the connection, so that no client takes this for whole.
        exchange.outcome = "upstream_error"
        side.finish(exchange)
        transport = request.transport
        if transport is not None:
            transport.abort()
        raise ConnectionResetError("the upstream broke off in its answer") from error


def _answer_head(exchange: P, response: ClientResponse, side: Side[P]) -> tuple[bytes, bool]:
    """Return the head of the answer, and whether its body goes in chunks."""
    request = exchange.request
    headers = side.filter_headers(exchange, list(response.raw_headers))
    keep = side.keeps_alive(exchange)
    chunked = False
    empty = request.method == "HEAD" or response.status in _NO_BODY
    framed = (
        not exchange.resized
        and exchange.upstream_method != "HEAD"
        and hdrs.CONTENT_LENGTH in response.headers
        and hdrs.TRANSFER_ENCODING not in response.headers
    )
    if not empty and not framed:
        headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        chunked = request.version >= (1, 1)
        if not chunked:
            keep = False
            exchange.closes = True
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    unchanged = exchange.status == response.status
    reason = (
        (response.reason or "").encode("latin-1", "replace")
        if unchanged
        else answer.reason_of(exchange.status)
    )
    return side.head(exchange, reason, headers, framing, keep=keep), chunked


def filtered(exchange: Passage, data: bytes, *, last: bool) -> bytes:
    """Return a piece of the answer's body as the plugins let it go on."""
    for one in exchange.body_filters:
        if data:
            data = one.feed(data)
        if last:
            data += one.finish()
    return data


def _chunk(data: bytes, *, last: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return chunk + b"0\r\n\r\n" if last else chunk


def write(request: BaseRequest, data: bytes) -> None:
    """Hand bytes to the client's connection. Raises `ConnectionResetError` if it is gone."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    transport.write(data)
