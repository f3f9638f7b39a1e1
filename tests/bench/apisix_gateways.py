"""What the benchmarks of a real Apache APISIX share: which gateway, its processes, loading it, and its peer.

A gateway is named by the environment, `FAREBOX_TEST_GATEWAY_*`; the stock APISIX that some benchmarks
measure beside it by `FAREBOX_TEST_STOCK_*`. Nothing is started here: how an APISIX is installed is not
this module's business.

| suffix | what |
| --- | --- |
| `_ADMIN_URL`, `_DATA_URL`, `_ADMIN_KEY` | Admin API, data plane, and the Admin API's secret |
| `_ETCD_URL` | etcd's own HTTP address: organizations are loaded there by the thousand, past the Admin API |
| `_PID_FILE` | the file in which nginx's master writes its process id (`logs/nginx.pid`) |
| `_USAGE_LOG` | the usage log |
| `_REDIS_URL` | the Redis in which it counts |
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from farebox_contract import keys

OPERATIONS: Final = 120
"""How many operations go into one transaction of etcd; it takes 128 unless told."""
_Item = TypeVar("_Item")


class MissingSettingError(Exception):
    """The environment does not name what a benchmark needs."""


@dataclass(frozen=True, slots=True)
class Named:
    """One gateway, or its stock peer, as the environment names it."""

    family: str
    admin: str
    data: str
    admin_key: str

    def setting(self, suffix: str) -> str:
        """Return one more setting of this gateway; raise `MissingSettingError` if it is not given."""
        return setting(f"{self.family}_{suffix}")

    @property
    def port(self) -> int:
        """The data plane's port."""
        return int(self.data.rpartition(":")[2])

    def workers(self) -> list[int]:
        """Return the process ids of nginx's workers, those that are shutting down left out."""
        master = Path(self.setting("PID_FILE")).read_text().strip()
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return [int(pid) for pid in children if title(int(pid)).startswith("nginx: worker process")]

    def worker(self) -> int:
        """Return the one worker; a benchmark that measures a worker wants just one."""
        found = self.workers()
        if len(found) != 1:
            sys.exit(f"{self.family}: {len(found)} workers found; run it with one (worker_processes: 1)")
        return found[0]


def title(pid: int) -> str:
    """Return a process' title without the words that nginx adds to a worker that ends."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
    return "" if "shutting down" in text else text


def setting(name: str) -> str:
    """Return a variable of the environment; raise `MissingSettingError` if it is not there."""
    value = os.environ.get(name)
    if not value:
        raise MissingSettingError(name)
    return value.rstrip("/")


def named(family: str = "FAREBOX_TEST_GATEWAY") -> Named:
    """Return a gateway by the first words of its variables."""
    return Named(
        family, setting(f"{family}_ADMIN_URL"), setting(f"{family}_DATA_URL"), setting(f"{family}_ADMIN_KEY")
    )


def need(*names: str) -> None:
    """End the program with status 2 and a list of what is missing, if anything is."""
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        print("not set: " + ", ".join(missing), file=sys.stderr)
        print("python -m pydoc tests.bench.apisix_gateways says what they mean", file=sys.stderr)
        sys.exit(2)


def family_needs(family: str, *suffixes: str) -> list[str]:
    """Return the names of a family's variables: the three that each has, and those of more suffixes."""
    return [f"{family}_{suffix}" for suffix in ("ADMIN_URL", "DATA_URL", "ADMIN_KEY", *suffixes)]


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def loaded_key(number: int) -> keys.IssuedKey:
    """Return the key of the organization with this number; the same in every run, so it need not be kept.

    The ids look as random as real ones: LuaJIT's hash reads only some bytes of a long text, and texts that
    differ in the digits of a counter alone would collide by the thousand.
    """
    drawn = hashlib.sha256(b"bench %d" % number).hexdigest()
    name = keys.KeyName("live", f"b{drawn[:9]}", f"k{drawn[9:18]}")
    text = keys.compose(keys.DEFAULT_PREFIX, name, drawn[:32])
    return keys.IssuedKey(name, text, keys.digest(text))


class Etcd:
    """Writes objects of APISIX straight into etcd: for loading only, past every check of the Admin API."""

    def __init__(self, gateway: Named, session: aiohttp.ClientSession) -> None:
        self._url, self._session = gateway.setting("ETCD_URL"), session

    async def put(self, objects: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Write (path below /apisix, value) pairs, many in one transaction."""
        for batch in _batches(objects, OPERATIONS):
            operations = [
                {"requestPut": {"key": _base64(f"/apisix{path}"), "value": _base64(json.dumps(value))}}
                for path, value in batch
            ]
            await self._post("txn", {"success": operations})

    async def delete(self, paths: Iterable[str]) -> None:
        """Delete objects by their paths below /apisix, and what stands below them."""
        for batch in _batches(paths, OPERATIONS // 2):
            operations = []
            for path in batch:
                begin, end = f"/apisix{path}/", f"/apisix{path}0"
                operations.append({"requestDeleteRange": {"key": _base64(f"/apisix{path}")}})
                operations.append({"requestDeleteRange": {"key": _base64(begin), "range_end": _base64(end)}})
            await self._post("txn", {"success": operations})

    async def _post(self, verb: str, body: dict[str, Any]) -> None:
        async with self._session.post(f"{self._url}/v3/kv/{verb}", json=body) as response:
            if response.status != 200:
                raise RuntimeError(f"etcd: {response.status} {await response.text()}")


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def admin(
    gateway: Named, session: aiohttp.ClientSession, method: str, path: str, value: Any = None
) -> dict[str, Any]:
    """Call the Admin API; raise `RuntimeError` unless it succeeds. Deleting what is not there succeeds."""
    data = None if value is None else json.dumps(value).encode()
    async with session.request(
        method, f"{gateway.admin}/apisix/admin{path}", data=data, headers={"X-API-KEY": gateway.admin_key}
    ) as response:
        text = await response.text()
        if response.status >= 300 and (method, response.status) != ("DELETE", 404):
            raise RuntimeError(f"{method} {path}: {response.status} {text}")
        return json.loads(text) if text else {}


async def until_status(
    gateway: Named, path: str, headers: dict[str, str], status: int, seconds: float
) -> float:
    """Ask the data plane until it answers so; return the seconds it took. Raises `TimeoutError`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{gateway.data}{path}", headers=headers) as response:
                    await response.read()
                    if response.status == status:
                        return loop.time() - began
            await asyncio.sleep(0.2)


def at(values: list[float], share: float) -> float:
    """Return a quantile of values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def machine() -> dict[str, Any]:
    """Return what a figure was measured on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
    }
