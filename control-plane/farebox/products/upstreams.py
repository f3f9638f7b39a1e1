"""Where an API really lives, and how requests are spread over its nodes. Pure values, checked.

Says what is wanted in the field's own terms; how a gateway spells it is the worker's translation.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from farebox.products.values import (
    Address,
    Code,
    Count,
    HostName,
    Seconds,
    Spec,
    Statuses,
    distinct,
    refuse,
)

_WELL: Final = [200, 302]
_ILL: Final = [429, 404, 500, 501, 502, 503, 504, 505]
_ILL_IN_PASSING: Final = [429, 500, 503]


class Node(Spec):
    """One server. A lower `priority` is used only while no node of a higher one is healthy."""

    address: Address
    weight: Annotated[int, Field(ge=0, le=10_000)] = 1
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class Balancing(Spec):
    """How a node is chosen. `chash` sends equal keys to equal nodes; `hash_on` says what `key` names."""

    algorithm: Literal["roundrobin", "chash", "least_conn", "ewma"] = "roundrobin"
    hash_on: Literal["vars", "header", "cookie", "consumer"] | None = None
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,64}$")] | None = None

    @model_validator(mode="after")
    def _hash_key(self) -> Self:
        if self.algorithm != "chash":
            if self.hash_on is not None or self.key is not None:
                raise refuse("`hash_on` and `key` belong to algorithm chash; remove them or choose chash")
            return self
        if self.hash_on == "consumer":
            if self.key is not None:
                raise refuse("hash_on consumer takes no key: the organization is the key; remove it")
        elif self.key is None:
            raise refuse(
                "chash needs a `key`, such as remote_addr (vars), X-Session (header) or sid (cookie)"
            )
        elif self.hash_on in {None, "vars"} and not _is_hash_variable(self.key):
            raise refuse(
                "as a variable the key is uri, request_uri, query_string, host, remote_addr, remote_port, "
                "server_name, server_addr, hostname or arg_NAME"
            )
        return self


class ActiveCheck(Spec):
    """Asking each node by ourselves. `tcp` only connects; `interval` and `timeout` are seconds."""

    type: Literal["http", "https", "tcp"] = "http"
    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]{0,255}$")] = "/"
    host: HostName | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 1
    interval: Annotated[int, Field(ge=1, le=3600)] = 1
    healthy_statuses: Statuses = _WELL
    unhealthy_statuses: Statuses = _ILL
    successes: Count = 2
    http_failures: Count = 5
    tcp_failures: Count = 2
    timeouts: Count = 3
    verify_certificate: bool = True


class PassiveCheck(Spec):
    """Judging nodes by the answers that callers get. It condemns; the active check brings back."""

    unhealthy_statuses: Statuses = _ILL_IN_PASSING
    http_failures: Count = 5
    tcp_failures: Count = 2
    timeouts: Count = 7


class HealthChecks(Spec):
    """When a node gets no requests. A passive check needs an active one, which finds a node well again."""

    active: ActiveCheck
    passive: PassiveCheck | None = None


class Timeouts(Spec):
    """Seconds to connect, and between two writes to or reads from a node."""

    connect: Seconds = 60
    send: Seconds = 60
    read: Seconds = 60


class KeepAlive(Spec):
    """Idle connections that each gateway worker keeps: how many, for how long, for how many requests."""

    size: Annotated[int, Field(ge=1, le=10_000)] = 320
    idle_timeout: Annotated[float, Field(ge=0, le=3600)] = 60
    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


class UpstreamSpec(Spec):
    """An upstream. `retries`: how many other nodes are tried after a failure; absent, all of them once."""

    code: Code
    nodes: Annotated[list[Node], Field(min_length=1, max_length=256)]
    scheme: Literal["http", "https"] = "http"
    balancing: Balancing = Balancing()
    checks: HealthChecks | None = None
    timeouts: Timeouts = Timeouts()
    retries: Annotated[int, Field(ge=0, le=32)] | None = None
    retry_timeout: Annotated[float, Field(ge=0, le=3600)] = 0
    keepalive: KeepAlive = KeepAlive()
    pass_host: Literal["pass", "node", "rewrite"] = "pass"  # noqa: S105 - the Host header
    host: HostName | None = None

    @classmethod
    def simple(cls, code: str, nodes: Mapping[str, int]) -> Self:
        """Return an upstream of nodes, `host:port` to weight, with the defaults for all else."""
        return cls(
            code=code, nodes=[Node(address=address, weight=weight) for address, weight in nodes.items()]
        )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        distinct([node.address.lower() for node in self.nodes])
        if not any(node.weight for node in self.nodes):
            raise refuse("at least one node needs a weight above 0")
        if (self.pass_host == "rewrite") != (self.host is not None):  # noqa: S105 - the Host header
            raise refuse("`host` and pass_host rewrite go together: give both or neither")
        return self


def _is_hash_variable(name: str) -> bool:
    return name.startswith("arg_") or name in {
        "uri", "request_uri", "query_string", "host", "remote_addr", "remote_port", "server_name",
        "server_addr", "hostname",
    }  # fmt: skip
