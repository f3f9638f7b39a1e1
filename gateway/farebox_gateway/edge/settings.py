"""What the operator decides about one gateway process, read once from `FAREBOX_EDGE_*`."""

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from farebox_contract.identity import read_secrets
from farebox_contract.keys import DEFAULT_PREFIX

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
CounterStore = Literal["local", "redis"]
PlainHttp = Literal["serve", "redirect", "refuse"]

PREFIX: Final = "FAREBOX_EDGE_"


class SettingsError(ValueError):
    """A setting is missing or makes no sense; the message names the variable and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """One gateway process. Ports of 0 are chosen by the system and printed when the gateway is ready."""

    admin_key: str
    viewer_key: str | None = None
    data_key: str | None = None
    data_host: str = "127.0.0.1"
    data_port: int = 9080
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_port: int = 9443
    tls_public_port: int | None = None
    plain_http: PlainHttp = "serve"
    cache_bytes: int = 50 * 1024 * 1024
    admin_host: str = "127.0.0.1"
    admin_port: int = 9180
    state_folder: Path = Path("var/edge")
    compact_bytes: int = 16 * 1024 * 1024
    log_path: Path | None = Path("var/edge/usage.log")
    log_backlog_bytes: int = 64 * 1024 * 1024
    node: str = "edge-1"
    worker: int = 0
    key_prefix: str = DEFAULT_PREFIX
    identity_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    trusted_proxies: tuple[Network, ...] = ()
    counters: CounterStore = "local"
    redis_url: str | None = None
    redis_timeout: float = 0.25
    require_generation: bool = True
    lease_seconds: float = 5.0
    drain_seconds: float = 30.0
    keepalive_seconds: float = 75.0
    max_head_bytes: int = 16_384


def from_environment(environment: Mapping[str, str]) -> EdgeSettings:
    """Read `FAREBOX_EDGE_*`; the one place where the gateway looks at its environment.

    Raises `SettingsError` for a missing, malformed or unknown variable.
    """
    given = {name[len(PREFIX) :]: value for name, value in environment.items() if name.startswith(PREFIX)}
    if not given.get("ADMIN_KEY"):
        raise SettingsError(f"{PREFIX}ADMIN_KEY is not set: choose a secret for the Admin API's X-API-KEY")
    unknown = sorted(given.keys() - _READERS.keys())
    if unknown:
        raise SettingsError(f"{PREFIX}{unknown[0]} is no setting; known: {', '.join(sorted(_READERS))}")
    redis_url = given.get("REDIS_URL") or environment.get("FAREBOX_REDIS_URL") or None
    values: dict[str, object] = {
        "node": _node(socket.gethostname()),
        "redis_url": redis_url,
        "counters": "redis" if redis_url else "local",
    }
    for name, text in given.items():
        field, reader = _READERS[name]
        if text == "" and name != "LOG_PATH":
            continue
        try:
            values[field] = reader(text)
        except ValueError as error:
            shown = "" if name in _SECRET else f" is {text!r}"
            raise SettingsError(f"{PREFIX}{name}{shown}: {error}") from None
    if values["counters"] == "redis" and values["redis_url"] is None:
        raise SettingsError(f"{PREFIX}COUNTERS=redis needs {PREFIX}REDIS_URL")
    if ("tls_certificate" in values) != ("tls_key" in values):
        raise SettingsError(f"{PREFIX}TLS_CERTIFICATE and {PREFIX}TLS_KEY go together: set both or none")
    if values.get("plain_http", "serve") != "serve" and "tls_certificate" not in values:
        raise SettingsError(f"{PREFIX}PLAIN_HTTP={values['plain_http']} needs {PREFIX}TLS_CERTIFICATE")
    return EdgeSettings(**values)  # type: ignore[arg-type]  # each reader returns its field's type


def _node(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:128]
    if not name or name != text:
        raise ValueError("use 1 to 128 of letters, digits, '_', '.', '-'")
    return name


def _port(text: str) -> int:
    return _between(0, 65_535)(text)


def _between(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return number

    return read


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise ValueError("expected seconds, above 0 and at most 3600")
    return number


def _flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError("expected true or false")
    return text.lower() in {"true", "1"}


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return text

    return read


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def _key_prefix(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", text):
        raise ValueError("expected a lower-case letter and up to 15 letters or digits")
    return text


_SECRET: Final = frozenset({"ADMIN_KEY", "VIEWER_KEY", "DATA_KEY", "IDENTITY_SECRETS", "REDIS_URL"})
"""What stands in these is in no error text."""
_READERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "ADMIN_KEY": ("admin_key", str),
    "VIEWER_KEY": ("viewer_key", str),
    "DATA_KEY": ("data_key", str),
    "DATA_HOST": ("data_host", str),
    "DATA_PORT": ("data_port", _port),
    "TLS_CERTIFICATE": ("tls_certificate", Path),
    "TLS_KEY": ("tls_key", Path),
    "TLS_PORT": ("tls_port", _port),
    "TLS_PUBLIC_PORT": ("tls_public_port", _port),
    "PLAIN_HTTP": ("plain_http", _one_of("serve", "redirect", "refuse")),
    "CACHE_BYTES": ("cache_bytes", _between(0, 2**40)),
    "ADMIN_HOST": ("admin_host", str),
    "ADMIN_PORT": ("admin_port", _port),
    "STATE_FOLDER": ("state_folder", Path),
    "COMPACT_BYTES": ("compact_bytes", _between(4096, 2**40)),
    "LOG_PATH": ("log_path", lambda text: Path(text) if text else None),
    "LOG_BACKLOG_BYTES": ("log_backlog_bytes", _between(0, 2**40)),
    "NODE": ("node", _node),
    "WORKER": ("worker", _between(0, 10_000)),
    "KEY_PREFIX": ("key_prefix", _key_prefix),
    "IDENTITY_SECRETS": ("identity_secrets", read_secrets),
    "TRUSTED_PROXIES": ("trusted_proxies", _networks),
    "COUNTERS": ("counters", _one_of("local", "redis")),
    "REDIS_URL": ("redis_url", str),
    "REDIS_TIMEOUT": ("redis_timeout", _seconds),
    "REQUIRE_GENERATION": ("require_generation", _flag),
    "LEASE_SECONDS": ("lease_seconds", _seconds),
    "DRAIN_SECONDS": ("drain_seconds", _seconds),
    "KEEPALIVE_SECONDS": ("keepalive_seconds", _seconds),
    "MAX_HEAD_BYTES": ("max_head_bytes", _between(1024, 1024 * 1024)),
}
