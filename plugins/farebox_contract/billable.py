"""Which answered requests are billable: named, versioned rules over environment, outcome and status.

An invoice names the rule it was made with, so a rule is never edited, only succeeded by another. The
collector counts everything; the rule is applied when usage is rated, and each excluded request has the
reason given here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

ExclusionReason = Literal[
    "test_key",
    "unauthenticated",
    "forbidden",
    "rate_limited",
    "quota_exceeded",
    "upstream_error",
    "server_error",
    "client_closed_before_answer",
]


@dataclass(frozen=True, slots=True)
class Decision:
    """Either billable, or excluded for a named reason."""

    reason: ExclusionReason | None

    @property
    def billable(self) -> bool:
        """Whether the request counts towards charges."""
        return self.reason is None


Rule = Callable[[str | None, str, int], Decision]
"""(environment, outcome, status) → decision."""

_BILLABLE: Final = Decision(None)
_BY_OUTCOME: Final[Mapping[str, Decision]] = MappingProxyType(
    {
        "unauthorized": Decision("unauthenticated"),
        "forbidden": Decision("forbidden"),
        "rate_limited": Decision("rate_limited"),
        "quota_exceeded": Decision("quota_exceeded"),
        "upstream_error": Decision("upstream_error"),
    }
)


def served_v1(environment: str | None, outcome: str, status: int) -> Decision:
    """Bill `served` below status 500, and `client_closed` once the upstream had answered; live keys only.

    A request whose client left before the upstream answered has status 499 (nginx's convention) or 0.
    """
    if environment is None:
        return Decision("unauthenticated")
    if environment != "live":
        return Decision("test_key")
    if outcome in _BY_OUTCOME:
        return _BY_OUTCOME[outcome]
    if outcome == "client_closed":
        return Decision("client_closed_before_answer") if status in {0, 499} else _BILLABLE
    return _BILLABLE if status < 500 else Decision("server_error")


DEFAULT_RULE: Final = "served_v1"
RULES: Final[Mapping[str, Rule]] = MappingProxyType({"served_v1": served_v1})
