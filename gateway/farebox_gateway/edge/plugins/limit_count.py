"""`limit-count` of APISIX, counted on this node and forgotten at a restart, as its `local` policy is.

Here for comparing with `farebox-limit`: the window begins at the first request, and a changed configuration
counts anew.
"""

import hashlib
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from farebox_gateway.edge import variables
from farebox_gateway.edge.answer import reason_of
from farebox_gateway.edge.exchange import Refusal
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.plugins.base import META, Decision, Plugin
from farebox_gateway.edge.plugins.pages import page
from farebox_gateway.edge.schema import CheckedSchema

_PRUNE_AT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Counting:
    """A compiled configuration; `identity` changes with every member, and with it the counters."""

    identity: bytes
    count: int
    seconds: int
    key: str
    constant: bool
    rejected_code: int
    rejected_body: bytes | None
    shows_headers: bool


class LimitCount(Plugin):
    """See the module."""

    name: ClassVar = "limit-count"
    priority: ClassVar = 1002
    schemas: ClassVar = {
        "route": CheckedSchema(
            {
                "type": "object",
                "properties": {
                    "count": {"oneOf": [{"type": "integer", "exclusiveMinimum": 0}]},
                    "time_window": {"oneOf": [{"type": "integer", "exclusiveMinimum": 0}]},
                    "key": {"type": "string", "default": "remote_addr"},
                    "key_type": {"type": "string", "enum": ["var", "constant"], "default": "var"},
                    "rejected_code": {"type": "integer", "minimum": 200, "maximum": 599, "default": 503},
                    "rejected_msg": {"type": "string", "minLength": 1},
                    "policy": {"type": "string", "enum": ["local"], "default": "local"},
                    "allow_degradation": {"type": "boolean", "default": False},
                    "show_limit_quota_header": {"type": "boolean", "default": True},
                    "_meta": META,
                },
                "required": ["count", "time_window"],
                "additionalProperties": False,
            }
        )
    }

    def __init__(self) -> None:
        self._counters: dict[tuple[bytes, str], tuple[float, int]] = {}

    def compile_of(self, owner: str, conf: dict[str, Any]) -> Counting:
        """Prepare what each request needs; equal limits of two owners count apart."""
        message = conf.get("rejected_msg")
        return Counting(
            identity=hashlib.sha256(msgspec.json.encode([owner, conf], order="sorted")).digest(),
            count=conf["count"],
            seconds=conf["time_window"],
            key=conf["key"],
            constant=conf["key_type"] == "constant",
            rejected_code=conf["rejected_code"],
            rejected_body=None if message is None else msgspec.json.encode({"error_msg": message}) + b"\n",
            shows_headers=conf["show_limit_quota_header"],
        )

    def access(self, exchange: Passage, conf: Counting) -> Decision:
        """Take one of the window, which the first request opens."""
        now = time.monotonic()
        key = (
            conf.identity,
            conf.key if conf.constant else variables.value(conf.key, exchange) or exchange.remote,
        )
        until, left = self._counters.get(key, (0.0, 0))
        if now >= until:
            until, left = now + conf.seconds, conf.count
            if len(self._counters) >= _PRUNE_AT:
                self._counters = {name: row for name, row in self._counters.items() if row[0] > now}
        allowed = left > 0
        left = max(0, left - 1)
        self._counters[key] = (until, left)
        if conf.shows_headers:
            exchange.set_answer_header("X-RateLimit-Limit", str(conf.count))
            exchange.set_answer_header("X-RateLimit-Remaining", str(left))
            exchange.set_answer_header("X-RateLimit-Reset", f"{until - now:.2f}".rstrip("0").rstrip("."))
        return None if allowed else _rejected(conf)


def _rejected(conf: Counting) -> Refusal:
    code = conf.rejected_code
    if conf.rejected_body is not None:
        return Refusal(
            code, conf.rejected_body, "rate_limited", ((b"Content-Type", b"text/plain; charset=utf-8"),)
        )
    content, body = page(code, reason_of(code))
    return Refusal(code, body, "rate_limited", (content,))
