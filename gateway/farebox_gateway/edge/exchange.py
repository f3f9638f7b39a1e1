"""One request on its way through the gateway: what plugins may see and set.

It holds what has been found out so far and no behaviour of its own; the order of the steps is `data_plane`'s.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from farebox_contract import problems
from farebox_contract.billable import DEFAULT_RULE
from farebox_contract.usage_line import Outcome
from farebox_gateway.edge.accounts import Consumer, Credential, Group
from farebox_gateway.edge.counters.base import Want
from farebox_gateway.edge.route import Route

JSON: Final = (b"Content-Type", b"application/json")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that the gateway gives itself instead of the upstream's."""

    status: int
    body: bytes
    outcome: Outcome = "served"
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)
    close: bool = False


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and what is known of it. Header names in `answer_headers` are lower-case bytes."""

    request: BaseRequest
    target: str
    path: str
    host: str
    remote: str
    started_ms: int
    started_ns: int
    rid: str
    received_before: int
    headers: CIMultiDict[str]
    upstream_target: str = ""
    upstream_method: str = ""
    """As the upstream sees it: `proxy-rewrite` may name another than the client's."""
    upstream_host: str | None = None
    route: Route | None = None
    consumer: Consumer | None = None
    credential: Credential | None = None
    group: Group | None = None
    environment: str | None = None
    tier: str = ""
    """`keyed`, `polite` or `anonymous` once `farebox-auth` has let it through."""
    contact: str = ""
    """The mail address of a polite caller."""
    subscription: str | None = None
    outcome: Outcome = "served"
    status: int = 0
    units: int = 1
    rule: str = DEFAULT_RULE
    """The billable rule by which the quota gives units back."""
    upstream_began_ns: int | None = None
    upstream_answered: bool = False
    stuck: bool = False
    sent: int = 0
    logged: bool = False
    closes: bool = False
    answer_headers: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    limit_lines: bytes = b""
    """Whole header lines that say what is left; the upstream's own of these names are dropped."""
    quota: Want | None = None

    def set_answer_header(self, name: str, value: str) -> None:
        """Set a header of the answer, over the upstream's of the same name."""
        key = name.encode("ascii")
        self.answer_headers[key.lower()] = (key, value.encode("utf-8", "replace"))

    def refuse(
        self,
        status: int,
        code: str,
        message: str,
        *,
        outcome: Outcome = "served",
        details: Mapping[str, Any] | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        close: bool = False,
    ) -> Refusal:
        """Return a refusal in the contract's error shape."""
        body = _encode(problems.envelope(code, message, request_id=self.rid, details=details))
        return Refusal(status, body, outcome, (JSON, *headers), close)


def new_request_id() -> str:
    """Return 32 hexadecimal digits that no client could have chosen."""
    return os.urandom(16).hex()
