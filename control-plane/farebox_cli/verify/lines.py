"""One raw line, read by the letter of docs/usage-line.md, and the rule that says whether it is billable."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn

_MOST_BYTES: Final = 16_384
_MOST: Final = 2**62
_CHOICES: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "outcome": (
            "served", "rate_limited", "quota_exceeded", "unauthorized", "forbidden", "upstream_error",
            "client_closed",
        ),
        "env": (None, "live", "test"),
    }
)  # fmt: skip
# Numbers by their least and most, texts by their least and most characters.
_NUMBERS: Final = {
    "v": (1, 1), "ts": (0, 253_402_300_799_999), "worker": (0, _MOST), "seq": (0, _MOST),
    "status": (0, 999), "units": (0, 10**12), "in": (0, _MOST), "out": (0, _MOST), "us": (0, _MOST),
}  # fmt: skip
_TEXTS: Final = {
    "node": (1, 128), "boot": (0, 32), "rid": (1, 64), "method": (0, 32), "path": (0, 2048), "ip": (0, 64),
}  # fmt: skip
_OPTIONAL_NUMBERS: Final = {"up_us": (0, _MOST)}
_OPTIONAL_TEXTS: Final = {
    "org": (1, 128), "key": (1, 128), "sub": (1, 128), "group": (1, 128), "route": (1, 128),
}  # fmt: skip


class Malformed(ValueError):  # noqa: N818 - an answer about a line, not a fault of ours
    """The bytes are no usage line; the message says why."""


class Line(NamedTuple):
    """What an invoice can depend on. `ts` is in microseconds."""

    node: str
    boot: str
    worker: int
    seq: int
    ts: int
    environment: str | None
    organization: str | None
    subscription: str | None
    outcome: str
    status: int
    units: int
    key: str = ""
    route: str = ""
    method: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    microseconds: int = 0


def read(raw: bytes) -> Line:
    """Read a line without its newline. Raises `Malformed`."""
    if len(raw) > _MOST_BYTES:
        raise Malformed(f"longer than {_MOST_BYTES} bytes")
    try:
        member = _DECODER.decode(raw.decode("utf-8", "surrogateescape").strip(" \t\r\n"))
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if type(member) is not dict:
        raise Malformed("not a JSON object")
    _check_forms(member)
    _check_sense(member)
    if not raw.isascii() or b"\\u" in raw:
        _check_unicode(member)
    return Line(
        member["node"], member["boot"], member["worker"], member["seq"], member["ts"] * 1000,
        member.get("env"), member.get("org"), member.get("sub"),
        member["outcome"], member["status"], member["units"],
        member.get("key") or "", member.get("route") or "", member["method"],
        member["in"], member["out"], member["us"],
    )  # fmt: skip


def served_v1(line: Line) -> str | None:
    """Return why the line is not billable, or None: it is.

    Billable are requests with a live key that were served below status 500, and those whose client left
    after the upstream had answered (the status is then the upstream's, not 499 or 0).
    """
    if line.environment != "live":
        return "unauthenticated" if line.environment is None else "test_key"
    match line.outcome:
        case "served":
            return "server_error" if line.status >= 500 else None
        case "client_closed":
            return "client_closed_before_answer" if line.status in {0, 499} else None
        case "unauthorized":
            return "unauthenticated"
        case refused:
            return refused


RULES: Final[Mapping[str, Callable[[Line], str | None]]] = MappingProxyType({"served_v1": served_v1})


def _check_forms(member: Mapping[str, Any]) -> None:
    for name, bounds in _NUMBERS.items():
        _number(name, member.get(name), *bounds)
    for name, bounds in _TEXTS.items():
        _text(name, member.get(name), *bounds)
    for name, bounds in _OPTIONAL_NUMBERS.items():
        if member.get(name) is not None:
            _number(name, member[name], *bounds)
    for name, bounds in _OPTIONAL_TEXTS.items():
        if member.get(name) is not None:
            _text(name, member[name], *bounds)
    _text("ua", member.get("ua", ""), 0, 512)


def _check_sense(member: Mapping[str, Any]) -> None:
    for name, choices in _CHOICES.items():
        if member.get(name) not in choices:
            raise Malformed(f"`{name}` is not one of {', '.join(str(choice) for choice in choices)}")
    if bool(member["boot"]) != bool(member["seq"]):
        raise Malformed("`boot` and `seq` go together: both set, or both empty")
    if member.get("key") is not None and member.get("org") is None:
        raise Malformed("`key` without `org`")


def _number(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise Malformed(f"`{name}` is not a whole number from {least} to {most}")


def _text(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not str or not least <= len(value) <= most:
        raise Malformed(f"`{name}` is not a text of {least} to {most} characters")


def _check_unicode(member: Mapping[str, Any]) -> None:
    for name in ("node", "boot", "rid", "env", "org", "key", "sub", "group", "route", "method", "path",
                 "outcome", "ip", "ua"):  # fmt: skip
        try:
            (member.get(name) or "").encode()
        except UnicodeEncodeError as error:
            raise Malformed(f"`{name}` is not UTF-8") from error


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
