"""Constant traffic on one keyed route, and how long each answer took, counted from when it was due.

    python -m tests.bench.apisix_steady_load PORT PATH KEY SECONDS PER_SECOND

An open loop: a request is sent when its time has come, whether or not earlier ones were answered, so a
gateway that stands still for half a second is seen by each request that fell into it. One process of its
own, so that whoever measures beside it does not disturb it. Prints milliseconds as a JSON list; an answer
that is not 200 counts as -1.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

CONNECTIONS = 16


class Connection(asyncio.Protocol):
    """One connection that asks again and again; answers come in the order of the questions."""

    def __init__(self, found: list[float]) -> None:
        self._found = found
        self._due: list[float] = []
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, question: bytes, due: float) -> None:
        """Send a request that is due now."""
        assert self._transport is not None
        self._due.append(due)
        self._transport.write(question)

    def data_received(self, data: bytes) -> None:
        """Count answers by their Content-Length."""
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._rest) < end + 4 + length:
                return
            self._rest = self._rest[end + 4 + length :]
            # The loop may wake a little early.
            took = max(0.0, time.perf_counter() - self._due.pop(0)) * 1000
            self._found.append(took if head.startswith(b"http/1.1 200") else -1.0)


async def run(port: int, path: str, key: str, seconds: float, per_second: float) -> list[float]:
    """Ask at a constant rate; return milliseconds for each answer."""
    loop = asyncio.get_running_loop()
    found: list[float] = []
    connections = [
        (await loop.create_connection(lambda: Connection(found), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\napikey: {key}\r\n\r\n"
    question = head.encode()
    began, count = time.perf_counter(), int(seconds * per_second)
    for number in range(count):
        due = began + number / per_second
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        connections[number % CONNECTIONS].ask(question, due)
    for _ in range(600):
        if len(found) == count:
            break
        await asyncio.sleep(0.1)
    return found


if __name__ == "__main__":
    _, port_text, path_text, key_text, seconds_text, rate_text = sys.argv
    print(
        json.dumps(
            uvloop.run(run(int(port_text), path_text, key_text, float(seconds_text), float(rate_text)))
        )
    )
