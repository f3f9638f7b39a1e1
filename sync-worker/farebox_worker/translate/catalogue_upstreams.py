"""An upstream in the gateway's words: nodes, balancing, health checks, timeouts, connections kept. Pure."""

from typing import Any

from farebox.products.upstreams import ActiveCheck, HealthChecks, PassiveCheck, UpstreamSpec
from farebox_gateway import resources
from farebox_gateway.resources import Resource


def upstream(spec: UpstreamSpec, *, revision: int) -> Resource:
    """Return an upstream with every setting said, so that no gateway's own default decides."""
    more: dict[str, Any] = {
        "type": spec.balancing.algorithm,
        "scheme": spec.scheme,
        "timeout": spec.timeouts.document(),
        "keepalive_pool": spec.keepalive.document(),
        "retry_timeout": spec.retry_timeout,
        "pass_host": spec.pass_host,
    }
    if spec.balancing.algorithm == "chash":
        more["hash_on"] = spec.balancing.hash_on or "vars"
        if spec.balancing.key is not None:
            more["key"] = spec.balancing.key
    if spec.retries is not None:
        more["retries"] = spec.retries
    if spec.host is not None:
        more["upstream_host"] = spec.host
    if spec.checks is not None:
        more["checks"] = _checks(spec.checks)
    return resources.upstream(spec.code, nodes=_nodes(spec), revision=revision, **more)


def _nodes(spec: UpstreamSpec) -> list[dict[str, Any]]:
    nodes = []
    for node in spec.nodes:
        host, _, port = node.address.rpartition(":")
        nodes.append({"host": host, "port": int(port), "weight": node.weight, "priority": node.priority})
    return nodes


def _checks(checks: HealthChecks) -> dict[str, Any]:
    said: dict[str, Any] = {"active": _active(checks.active)}
    if checks.passive is not None:
        said["passive"] = _passive(checks.passive, checks.active.type)
    return said


def _active(check: ActiveCheck) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": check.type,
        "timeout": check.timeout,
        "http_path": check.path,
        "https_verify_certificate": check.verify_certificate,
        "healthy": {
            "interval": check.interval,
            "http_statuses": check.healthy_statuses,
            "successes": check.successes,
        },
        "unhealthy": {
            "interval": check.interval,
            "http_statuses": check.unhealthy_statuses,
            "http_failures": check.http_failures,
            "tcp_failures": check.tcp_failures,
            "timeouts": check.timeouts,
        },
    }
    if check.host is not None:
        said["host"] = check.host
    if check.port is not None:
        said["port"] = check.port
    return said


def _passive(check: PassiveCheck, type_: str) -> dict[str, Any]:
    # `successes` 0: an answer to a caller never brings a node back, the active check does.
    return {
        "type": type_,
        "healthy": {"successes": 0},
        "unhealthy": {
            "http_statuses": check.unhealthy_statuses,
            "http_failures": check.http_failures,
            "tcp_failures": check.tcp_failures,
            "timeouts": check.timeouts,
        },
    }
