"""One question to a node, as an upstream's active checks put it; what the answer means `health` decides."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Fault = Literal["http_failure", "tcp_failure", "timeout_failure"]

_LONGEST_STATUS_LINE: Final = 512


@dataclass(frozen=True, slots=True)
class Target:
    """Where a node is probed."""

    host: str
    port: int
    shown_host: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to a node."""

    kind: str
    seconds: float
    concurrency: int
    path: str
    headers: tuple[str, ...]
    verify: bool

    @classmethod
    def of(cls, active: Mapping[str, Any]) -> "Probe":
        """Read the `active` side of an upstream's `checks`."""
        return cls(
            kind=active.get("type", "http"),
            seconds=float(active.get("timeout", 1)),
            concurrency=max(1, active.get("concurrency", 10)),
            path=active.get("http_path", "/"),
            headers=tuple(active.get("req_headers", ())),
            verify=active.get("https_verify_certificate", True),
        )

    async def ask(self, target: Target) -> int | Fault | None:
        """Return the status (0: the answer is no HTTP), the fault, or nothing where a connection is all."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self.seconds):
                reader, writer = await asyncio.open_connection(
                    target.host,
                    target.port,
                    ssl=self._tls(),
                    server_hostname=target.shown_host if self.kind == "https" else None,
                    limit=_LONGEST_STATUS_LINE,
                )
                if self.kind == "tcp":
                    return None
                more = "".join(f"{line}\r\n" for line in self.headers)
                head = f"GET {self.path} HTTP/1.1\r\nConnection: close\r\n{more}"
                head += f"Host: {target.shown_host}\r\n\r\n"
                writer.write(head.encode("latin-1", "replace"))
                line = await reader.readline()
        except TimeoutError:
            return "timeout_failure"
        except (OSError, ValueError):
            return "tcp_failure"
        finally:
            if writer is not None:
                writer.close()
        if not line:
            return "tcp_failure"
        parts = line.split(None, 2)
        with contextlib.suppress(ValueError, IndexError):
            if parts[0].startswith(b"HTTP/"):
                return int(parts[1])
        return 0

    def _tls(self) -> ssl.SSLContext | None:
        if self.kind != "https":
            return None
        context = ssl.create_default_context()
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
