"""Asking the nodes of a gateway what they enforce: `farebox_contract.node_status` spoken over HTTP.

A node that did not answer is not asked again for some seconds, so that one dead machine does not slow down
what concerns the others. Knows hashes and workers, not what was sold.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import aiohttp
import msgspec

from farebox_contract import node_status as contract
from farebox_worker.targets import Node, Target

SULK_SECONDS: Final = 3.0
STATUS_SECONDS: Final = 25.0
"""A node's workers hash what they were loaded with when they are first asked, and take their time."""


T = TypeVar("T")


class NodeError(Exception):
    """A node did not say what it enforces. The text names the node."""

    def __init__(self, node: str, text: str) -> None:
        super().__init__(f"node {node}: {text}")
        self.node = node
        self.text = text


class WorkerStatus(msgspec.Struct, frozen=True):
    """What one worker of a node says. With `error` it said nothing else."""

    worker: int
    error: str | None = None
    boot: str = ""
    seq: int = 0
    now: int = 0
    plugins: dict[str, float] = {}
    counts: dict[str, int] = {}
    settled: bool = False
    buckets: list[str] = []
    groups: dict[str, str] = {}
    routes: dict[str, str] = {}


class Items(msgspec.Struct, frozen=True):
    """One bucket of one worker."""

    worker: int
    error: str | None = None
    items: dict[str, str] = {}


class Hashes(msgspec.Struct, frozen=True):
    """The hashes of the items that were asked for, in their order."""

    worker: int
    error: str | None = None
    hashes: list[str | None] = []


class Text(msgspec.Struct, frozen=True):
    """The text of one item's form."""

    worker: int
    error: str | None = None
    text: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    v: int
    node: str
    workers: list[msgspec.Raw]


@dataclass(slots=True)
class Nodes:
    """The nodes of one gateway."""

    target: Target
    http: aiohttp.ClientSession
    _away: dict[str, tuple[float, str]] = field(default_factory=dict)

    @property
    def asked(self) -> tuple[Node, ...]:
        """The nodes that have an endpoint."""
        return tuple(node for node in self.target.nodes if node.status_url is not None)

    @property
    def awaited(self) -> tuple[Node, ...]:
        """Those of them without which nothing counts as enforced."""
        return tuple(node for node in self.asked if not node.optional)

    async def status(self, node: Node) -> list[WorkerStatus]:
        """Return what each worker says of itself. Raises `NodeError`."""
        return _read(node, await self._get(node, {}, STATUS_SECONDS), WorkerStatus)

    async def bucket(self, node: Node, number: int) -> list[Items]:
        """Return the items of one bucket, of each worker. Raises `NodeError`."""
        return _read(node, await self._get(node, {"bucket": str(number)}, STATUS_SECONDS), Items)

    async def text(self, node: Node, name: str) -> list[Text]:
        """Return what each worker holds under a name. Raises `NodeError`."""
        return _read(node, await self._get(node, {"item": name}, self.target.timeout), Text)

    async def hashes(self, node: Node, names: Sequence[str]) -> list[Hashes]:
        """Return the hashes of these items, of each worker. Raises `NodeError`."""
        return _read(node, await self._call(node, {}, names, self.target.timeout), Hashes)

    async def prove(self, wanted: Mapping[str, int | None], *, patience: float) -> dict[str, str]:
        """Ask until every worker of every awaited node holds these items so, or does not hold them (None).

        Returns why not, for each item that was not seen so within `patience` seconds; nothing if all were.
        """
        found = await asyncio.gather(*(self._prove(node, wanted, patience) for node in self.awaited))
        return {name: why for each in found for name, why in each.items()}

    async def _prove(self, node: Node, wanted: Mapping[str, int | None], patience: float) -> dict[str, str]:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + patience, 0.005
        left = dict(wanted)
        while True:
            try:
                left, why = await self._lacking(node, left)
            except NodeError as error:
                return dict.fromkeys(left, str(error))
            if not left or loop.time() >= until:
                return dict.fromkeys(left, why)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.1)

    async def _lacking(
        self, node: Node, wanted: Mapping[str, int | None]
    ) -> tuple[dict[str, int | None], str]:
        names, lacking, why = list(wanted), {}, ""
        for start in range(0, len(names), contract.MOST_ITEMS):
            some = names[start : start + contract.MOST_ITEMS]
            for worker in await self.hashes(node, some):
                if worker.error is not None or len(worker.hashes) != len(some):
                    why = f"node {node.code}, worker {worker.worker}: {worker.error or 'it answered in part'}"
                    return dict(wanted), why
                for name, held in zip(some, worker.hashes, strict=True):
                    number = wanted[name]
                    if held != (None if number is None else contract.shown(number)):
                        lacking[name] = number
                        why = (
                            f"node {node.code}, worker {worker.worker}, has not taken up "
                            "what the gateway has accepted"
                        )
        return lacking, why

    async def _get(self, node: Node, query: dict[str, str], seconds: float) -> list[msgspec.Raw]:
        return await self._call(node, query, None, max(seconds, self.target.timeout))

    async def _call(
        self, node: Node, query: dict[str, str], items: Sequence[str] | None, seconds: float
    ) -> list[msgspec.Raw]:
        loop = asyncio.get_running_loop()
        away = self._away.get(node.code)
        if away is not None and loop.time() < away[0]:
            raise NodeError(node.code, away[1])
        try:
            workers = await self._once(node, query, items, seconds)
        except NodeError as error:
            self._away[node.code] = loop.time() + SULK_SECONDS, error.text
            raise
        self._away.pop(node.code, None)
        return workers

    async def _once(
        self, node: Node, query: dict[str, str], items: Sequence[str] | None, seconds: float
    ) -> list[msgspec.Raw]:
        if node.status_url is None:
            raise NodeError(node.code, "it has no status_url")
        data = None if items is None else msgspec.json.encode({"items": list(items)})
        try:
            async with self.http.request(
                "GET" if items is None else "POST",
                node.status_url,
                params=query,
                data=data,
                headers={"X-API-KEY": self.target.admin_key, "Content-Type": "application/json"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                raw = await response.read()
        except TimeoutError:
            raise NodeError(node.code, f"no answer within {seconds:g} s from {node.status_url}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NodeError(
                node.code, f"{node.status_url} cannot be reached: {type(error).__name__}"
            ) from None
        if response.status in {401, 403}:
            raise NodeError(node.code, f"{node.status_url} does not accept the gateway's admin key")
        if response.status != 200:
            raise NodeError(
                node.code,
                f"{node.status_url} answered {response.status}: is farebox-meter loaded there?",
            )
        try:
            answer = msgspec.json.decode(raw, type=_Answer)
        except msgspec.DecodeError:
            raise NodeError(node.code, f"{node.status_url} did not answer as a node does") from None
        if answer.v != contract.VERSION or not answer.workers:
            raise NodeError(node.code, f"it speaks version {answer.v}; this worker needs {contract.VERSION}")
        return answer.workers


def _read(node: Node, workers: Sequence[msgspec.Raw], kind: type[T]) -> list[T]:
    try:
        return [msgspec.json.decode(raw, type=kind) for raw in workers]
    except msgspec.DecodeError as error:
        raise NodeError(node.code, f"it did not answer as a node does: {error}") from None
