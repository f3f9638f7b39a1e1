"""The usage line, version 1: one JSON object a line, one line per request that the gateway answered.

Written by the edge, read by the collector and by `farebox verify`. `(node, boot, worker)` is a stream and
`seq` counts in it from 1 without a gap; a line with `boot` empty and `seq` 0 has no stream (a worker that
answered before its plugins were loaded) and is counted by its place in the file.

This module knows the form of a line, not what is billable: that is `farebox_contract.billable`.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

VERSION: Final = 1
Outcome = Literal[
    "served", "rate_limited", "quota_exceeded", "unauthorized", "forbidden", "upstream_error", "client_closed"
]
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "served",
    "rate_limited",
    "quota_exceeded",
    "unauthorized",
    "forbidden",
    "upstream_error",
    "client_closed",
)
MAX_LINE_BYTES: Final = 16_384
"""A longer line is malformed: the edge cuts `path` and `ua` well before."""
MAX_UNITS: Final = 10**12
MAX_PATH_CHARACTERS: Final = 1_024
MAX_USER_AGENT_CHARACTERS: Final = 256

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Units = Annotated[int, msgspec.Meta(ge=0, le=MAX_UNITS)]
_Instant = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]


class UsageLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"in_": "in"}):
    """One answered request.

    `ts` is the request's start in milliseconds since the Unix epoch; `us` and `up_us` whole microseconds in
    all and at the upstream; `in_` (`in` on the wire) and `out` bytes. `org`, `key`, `sub`, `group`, `env`
    are present only when authentication succeeded, `route` only when one matched, `up_us` only when the
    upstream answered. `path` has no query string. Unknown members are ignored, so that version 1 may grow.
    """

    v: Literal[1]
    ts: _Instant
    node: _Name
    boot: Annotated[str, msgspec.Meta(max_length=32)]
    worker: _Count
    seq: _Count
    rid: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    env: Literal["live", "test"] | None = None
    org: _Name | None = None
    key: _Name | None = None
    sub: _Name | None = None
    group: _Name | None = None
    route: _Name | None = None
    method: Annotated[str, msgspec.Meta(max_length=32)]
    path: Annotated[str, msgspec.Meta(max_length=2 * MAX_PATH_CHARACTERS)]
    status: Annotated[int, msgspec.Meta(ge=0, le=999)]
    outcome: Outcome
    units: _Units
    in_: _Count
    out: _Count
    us: _Count
    up_us: _Count | None = None
    ip: Annotated[str, msgspec.Meta(max_length=64)]
    ua: Annotated[str, msgspec.Meta(max_length=2 * MAX_USER_AGENT_CHARACTERS)] = ""

    @property
    def has_stream(self) -> bool:
        """Whether the line carries a place in a stream; if not, its file position identifies it."""
        return self.boot != "" and self.seq > 0


class MalformedLineError(ValueError):
    """The bytes are no usage line; the message says which member is wrong."""


_DECODER: Final = msgspec.json.Decoder(UsageLine)
_ENCODER: Final = msgspec.json.Encoder()


def decode(line: bytes) -> UsageLine:
    """Read one line without its newline. Raises `MalformedLineError` naming the member and the reason."""
    if len(line) > MAX_LINE_BYTES:
        raise MalformedLineError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        decoded = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedLineError(str(error)) from error
    if bool(decoded.boot) != bool(decoded.seq):
        raise MalformedLineError("`boot` and `seq` go together: both set, or both empty")
    if decoded.key is not None and decoded.org is None:
        raise MalformedLineError("`key` without `org`")
    return decoded


def encode(line: UsageLine) -> bytes:
    """Write one line with its newline, members in the order of the contract."""
    return _ENCODER.encode(line) + b"\n"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a line, made from `UsageLine` itself."""
    schema = msgspec.json.schema(UsageLine)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
