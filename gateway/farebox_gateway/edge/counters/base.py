"""What a limit asks of a counter, and what it is told."""

from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, Protocol


class CounterUnavailableError(RuntimeError):
    """The counters cannot be asked now; what then happens is the plan's choice."""


class Want(NamedTuple):
    """`units` of one counter. Times are Unix milliseconds; without a `limit` it only counts (a soft quota).

    `slot` names the counter through all its windows, `key` in this window or period.
    """

    name: str
    slot: str
    key: str
    start: int
    ends: int
    limit: int | None
    units: int


class Taken(NamedTuple):
    """`refused` is the index of the first counter that had not enough; then nothing was taken from any.

    `used` holds each counter's units after this, as far as this node knows; of a refusal, the refused one's.
    """

    refused: int | None
    used: Sequence[int]


class Counters(Protocol):
    """All are checked, then all are taken."""

    def take(self, owner: str, wants: Sequence[Want]) -> Taken | Awaitable[Taken]:
        """Take from all counters or from none. Raises `CounterUnavailableError`."""

    def settle(self, want: Want, units: int) -> None:
        """Correct what was taken by `units` more (or fewer), limit or not; never fails, may be late."""

    def status(self) -> dict[str, Any]:
        """Say how the store is."""
