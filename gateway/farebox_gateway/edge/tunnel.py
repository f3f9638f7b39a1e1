"""Bytes both ways after a 101, until either side ends: WebSocket, or whatever the two agreed on."""

import asyncio
from typing import Final

from aiohttp import ClientResponse
from aiohttp.base_protocol import BaseProtocol

from farebox_gateway.edge.exchange import Exchange

_HIGH_WATER: Final = 256 * 1024


class _Pump:
    """Stands where aiohttp expects a parser; what arrives on one side waits here for the other."""

    def __init__(self, source: BaseProtocol) -> None:
        self.moved = 0
        self._source = source
        self._chunks: list[bytes] = []
        self._held = 0
        self._paused = False
        self._ended = False
        self._arrived = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._chunks.append(data)
        self._held += len(data)
        if self._held > _HIGH_WATER and not self._paused:
            self._paused = True
            self._source.pause_reading()
        self._arrived.set()
        return False, b""

    def feed_eof(self) -> None:
        self._ended = True
        self._arrived.set()

    def is_eof(self) -> bool:
        return self._ended

    def set_exception(self, error: BaseException, cause: BaseException | None = None) -> None:
        del error, cause
        self.feed_eof()

    async def run(self, target: BaseProtocol) -> None:
        """Write what arrives until the source ends or the target is gone."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._held = 0
            if data:
                transport = target.transport
                if transport is None or transport.is_closing():
                    return
                transport.write(data)
                self.moved += len(data)
                await _drained(target)
            if self._paused:
                self._paused = False
                self._source.resume_reading()
            if self._ended and not self._chunks:
                return


async def _drained(protocol: BaseProtocol) -> None:
    if protocol.writing_paused:
        await protocol._drain_helper()  # noqa: SLF001 — aiohttp drains its own streams by it, there is no other way


async def tunnel(exchange: Exchange, response: ClientResponse) -> None:
    """Carry bytes until either side ends; count what the client got."""
    connection = response.connection
    if connection is None or connection.protocol is None:
        return
    client, server = exchange.request.protocol, connection.protocol
    server.read_timeout = None
    upward, downward = _Pump(client), _Pump(server)
    server.set_parser(downward, downward)
    client.set_parser(upward)  # type: ignore[arg-type]  # any object with feed_data and feed_eof will do
    pumps = [asyncio.ensure_future(upward.run(server)), asyncio.ensure_future(downward.run(client))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        exchange.sent += downward.moved
