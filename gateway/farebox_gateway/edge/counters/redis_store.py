"""Counters in Redis for all nodes together, with leases so that most requests need no round trip.

One script checks every counter and takes from all or none. Of what is left it hands the node a slice, at
most a sixteenth, so slices shrink to one request near the end, and the sum of what all nodes spend never
passes a limit. The price is in the other direction: while other nodes hold slices, a node may be refused
up to their unspent sum early. Slices not touched for `lease_seconds` go back; a killed node's quota slices go
back when it starts again (they stand in a mapped file); window slices end with their window.

Without Redis, or without its generation marker, leases that are held may still be spent, and everything else
raises `CounterUnavailableError` at once (`redis_link`).
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from farebox_contract.counters import QUOTA_KEPT_MS, WINDOW_KEPT_MS
from farebox_gateway.edge.counters.base import CounterUnavailableError, Taken, Want
from farebox_gateway.edge.counters.redis_link import RedisLink
from farebox_gateway.edge.counters.table import NAME_BYTES, CounterTable
from farebox_gateway.edge.wall_clock import now_ms

log = logging.getLogger(__name__)

LARGEST_SLICE: Final = 512
REFUSAL_KEPT_SECONDS: Final = 0.25
_BEAT_SECONDS: Final = 0.5
_LAST_SECONDS: Final = 3.0
_QUOTA_PREFIX: Final = "farebox:quota:"


class _Lease:
    """What this node holds of one counter."""

    __slots__ = ("ends", "left", "limit", "refused_until", "row", "touched", "used")

    def __init__(self, ends: int) -> None:
        self.ends = ends
        self.left = 0
        self.used = 0
        self.limit: int | None = None
        self.touched = 0.0
        self.refused_until = 0.0
        self.row: int | None = None


class _Gate:
    """Lets one request of an organization at a time ask Redis."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class RedisCounters:
    """See the module. Open it with `async with`."""

    def __init__(
        self, url: str, leases_path: Path, *, timeout: float, require_generation: bool, lease_seconds: float
    ) -> None:
        self._link = RedisLink(url, timeout=timeout)
        self._require = "1" if require_generation else "0"
        self._lease_seconds = lease_seconds
        self._table = CounterTable(leases_path, now_ms())
        self._leases: dict[str, _Lease] = {}
        self._owed: dict[str, int] = {}
        self._gates: dict[str, _Gate] = {}
        self._generation = ""
        self._beat: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._beat = asyncio.get_running_loop().create_task(self._keep_up())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.gather(self._beat, return_exceptions=True)
        # Nobody waits for an answer any more: what is held is worth one more and longer attempt.
        self._link.be_patient(_LAST_SECONDS)
        with contextlib.suppress(CounterUnavailableError):
            await self._link.correct([], [])
            await self._bring_back(list(self._leases))
        self._table.close()
        await self._link.close()

    # -- the limits ask

    def take(self, owner: str, wants: Sequence[Want]) -> Taken | Awaitable[Taken]:
        """Take from all counters or from none, from leases where they last."""
        taken = self._from_leases(wants)
        return self._take_slowly(owner, wants) if taken is None else taken

    def settle(self, want: Want, units: int) -> None:
        """Correct what was taken: from the lease if it has enough, else with the next beat."""
        lease = self._leases.get(want.key)
        if lease is not None and lease.left >= units:
            self._set_left(lease, lease.left - units)
        else:
            self._owed[want.key] = self._owed.get(want.key, 0) + units

    def status(self) -> dict[str, Any]:
        """Say how the store is."""
        return {
            "kind": "redis",
            "available": self._link.available and (bool(self._generation) or self._require == "0"),
            "generation": self._generation,
            "leases": len(self._leases),
        }

    # -- inside

    def _from_leases(self, wants: Sequence[Want]) -> Taken | None:
        now = time.monotonic()
        leases = []
        for index, want in enumerate(wants):
            lease = self._leases.get(want.key)
            if lease is None:
                return None
            if lease.left < want.units:
                if now < lease.refused_until and lease.limit == want.limit:
                    return Taken(index, (lease.used,))
                return None
            leases.append(lease)
        used = []
        for want, lease in zip(wants, leases, strict=True):
            self._set_left(lease, lease.left - want.units)
            lease.touched = now
            used.append(lease.used - lease.left)
        return Taken(None, tuple(used))

    async def _take_slowly(self, owner: str, wants: Sequence[Want]) -> Taken:
        """Ask Redis, one request of an organization at a time: they need not all fetch slices at once."""
        gate = self._gates.setdefault(owner, _Gate())
        gate.users += 1
        try:
            async with gate.lock:
                taken = self._from_leases(wants)
                return await self._ask(wants) if taken is None else taken
        finally:
            gate.users -= 1
            if gate.users == 0:
                self._gates.pop(owner, None)

    async def _ask(self, wants: Sequence[Want]) -> Taken:
        """Put aside what the leases have, fetch what they lack; on a refusal everything goes back."""
        aside: list[tuple[_Lease | None, int]] = []
        for want in wants:
            lease = self._leases.get(want.key)
            part = 0 if lease is None else min(lease.left, want.units)
            if lease is not None:
                self._set_left(lease, lease.left - part)
            aside.append((lease, part))
        lacking = [
            index for index, (lease, part) in enumerate(aside) if lease is None or part < wants[index].units
        ]
        try:
            refused = await self._fetch(
                [(wants[index], wants[index].units - aside[index][1]) for index in lacking]
            )
        except BaseException:
            self._restore(aside)
            raise
        if refused is not None:
            self._restore(aside)
            return Taken(lacking[refused], (self._leases[wants[lacking[refused]].key].used,))
        held = [self._leases.get(want.key) for want in wants]
        return Taken(None, tuple(0 if lease is None else lease.used - lease.left for lease in held))

    def _restore(self, aside: list[tuple[_Lease | None, int]]) -> None:
        for lease, part in aside:
            if lease is not None and part:
                self._set_left(lease, lease.left + part)

    async def _fetch(self, lacks: Sequence[tuple[Want, int]]) -> int | None:
        """Fetch what each counter lacks, the rest of its slice for the lease, or learn which one refuses."""
        now = now_ms()
        wants = [want for want, _ in lacks]
        arguments: list[Any] = [self._require]
        for want, need in lacks:
            kept = QUOTA_KEPT_MS if want.key.startswith(_QUOTA_PREFIX) else WINDOW_KEPT_MS
            limit = -1 if want.limit is None else want.limit
            arguments += [limit, need, LARGEST_SLICE, max(want.ends, now) + kept]
        answer = await self._link.take([want.key for want in wants], arguments)
        generation, verdict = answer[0].decode(), int(answer[1])
        self._follow(generation)
        if verdict == -2:
            raise CounterUnavailableError("the counters have not been seeded")
        clock = time.monotonic()
        if verdict >= 0:
            lease = self._lease(wants[verdict])
            lease.used = int(answer[2])
            lease.limit = wants[verdict].limit
            lease.refused_until = clock + REFUSAL_KEPT_SECONDS
            return verdict
        for index, (want, need) in enumerate(lacks):
            lease = self._lease(want)
            lease.used = int(answer[3 + 2 * index])
            lease.touched = clock
            self._set_left(lease, lease.left + int(answer[2 + 2 * index]) - need)
        return None

    def _lease(self, want: Want) -> _Lease:
        lease = self._leases.get(want.key)
        if lease is None:
            lease = self._leases[want.key] = _Lease(want.ends)
            if want.key.startswith(_QUOTA_PREFIX) and len(want.key.encode()) < NAME_BYTES:
                lease.row = self._table.add(want.key, now_ms())
                self._table.set(lease.row, _mark(self._generation), 0, want.ends)
        return lease

    def _set_left(self, lease: _Lease, left: int) -> None:
        lease.left = left
        if lease.row is not None:
            self._table.set_count(lease.row, left)

    def _drop(self, key: str) -> None:
        lease = self._leases.pop(key, None)
        if lease is not None and lease.row is not None:
            lease.row = None
            self._table.remove(key)

    def _follow(self, generation: str) -> None:
        """Void what was handed out by counters that are gone."""
        if generation == self._generation:
            return
        if self._generation and self._leases:
            log.warning("the counters were flushed or seeded anew: %d leases are void", len(self._leases))
        for key in list(self._leases):
            self._drop(key)
        self._owed.clear()
        self._generation = generation

    # -- the beat

    async def _keep_up(self) -> None:
        """Twice a second: watch the generation, bring idle leases back, pay what is owed."""
        recovered = False
        while True:
            with contextlib.suppress(CounterUnavailableError):
                if not recovered:
                    await self._return_of_the_killed()
                    recovered = True
                await self._beat_once()
            await asyncio.sleep(_BEAT_SECONDS)

    async def _beat_once(self) -> None:
        generation = await self._link.correct([], [])
        self._follow("" if generation == "-" and self._require == "1" else generation)
        wall = now_ms()
        idle_since = time.monotonic() - self._lease_seconds
        for key in [key for key, lease in self._leases.items() if lease.ends + WINDOW_KEPT_MS < wall]:
            if not key.startswith(_QUOTA_PREFIX):
                self._drop(key)
        await self._bring_back([key for key, lease in self._leases.items() if lease.touched < idle_since])

    async def _bring_back(self, keys: list[str]) -> None:
        """Return leases and pay debts in one call; of an uncertain fate, what is in doubt counts as used."""
        amounts, self._owed = self._owed, {}
        for key in keys:
            lease = self._leases[key]
            if lease.left:
                amounts[key] = amounts.get(key, 0) - lease.left
            self._drop(key)
        if not amounts:
            return
        arguments: list[Any] = []
        for amount in amounts.values():
            arguments += [self._generation, amount]
        try:
            await self._link.correct(list(amounts), arguments)
        except CounterUnavailableError:
            for key, amount in amounts.items():
                if amount > 0:
                    self._owed[key] = self._owed.get(key, 0) + amount
            raise

    async def _return_of_the_killed(self) -> None:
        """Bring back what this node held when it was killed, if the counters are still the same."""
        found = [(name, row) for name, row in self._table.items() if name not in self._leases]
        generation = await self._link.correct([], [])
        keys, arguments = [], []
        for name, row in found:
            mark, left, _ = self._table.get(row)
            if left > 0 and mark == _mark(generation):
                keys.append(name)
                arguments += [generation, -left]
        if keys:
            await self._link.correct(keys, arguments)
            log.info("brought back %d leases that were held when the gateway was killed", len(keys))
        for name, _ in found:
            self._table.remove(name)


def _mark(generation: str) -> int:
    """Return 63 bits that stand for a generation in the mapped file."""
    return int.from_bytes(hashlib.sha256(generation.encode()).digest()[:8], "big") >> 1
