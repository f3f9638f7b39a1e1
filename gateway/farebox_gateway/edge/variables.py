"""The variables of nginx and APISIX that configurations name (`remote_addr`, `arg_page`, `http_x_tier`…).

A variable that this request does not have is none, as in APISIX, which is not the empty string.
"""

import re
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from farebox_gateway.edge.request_text import hostname

if TYPE_CHECKING:
    from farebox_gateway.edge.passage import Passage

_IN_TEXT: Final = re.compile(r"(?<!\\)\$(?:\{(\w+)(?:\s*\?\?\s*([^}]*))?\}|(\w+))")


def value(name: str, passage: "Passage") -> str | None:
    """Return a variable's value for a request."""
    if name.startswith("http_"):
        return _header(name[5:], passage)
    if name.startswith("arg_"):
        return _argument(name[4:], passage)
    if name.startswith("cookie_"):
        return _cookie(name[7:], passage)
    read = _KNOWN.get(name)
    return None if read is None else read(passage)


def fill(text: str, passage: "Passage") -> tuple[str, int]:
    """Return a text with its `$name` and `${name ?? default}` filled in, and how many had a value."""
    resolved = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal resolved
        known = value(found[1] or found[3], passage)
        if known is None:
            return found[2] or ""
        resolved += 1
        return known

    return _IN_TEXT.sub(replace, text), resolved


def _header(name: str, passage: "Passage") -> str | None:
    return passage.headers.get(name.replace("_", "-"))


def _argument(name: str, passage: "Passage") -> str | None:
    for part in passage.target.partition("?")[2].partition("#")[0].split("&"):
        key, mark, text = part.partition("=")
        if mark and key.lower() == name.lower():
            return unquote_to_bytes(text).decode("utf-8", "replace")
        if key == name and part:
            return ""
    return None


def _cookie(name: str, passage: "Passage") -> str | None:
    try:
        cookies = SimpleCookie(passage.headers.get("Cookie", ""))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None


def _query(passage: "Passage") -> str | None:
    return passage.target.partition("?")[2].partition("#")[0] or None


_KNOWN: Final[Mapping[str, Callable[["Passage"], str | None]]] = {
    "uri": lambda passage: passage.path,
    "request_uri": lambda passage: passage.target,
    "args": _query,
    "query_string": _query,
    "is_args": lambda passage: "?" if _query(passage) else "",
    "host": lambda passage: hostname(passage.host),
    "http_host": lambda passage: passage.host,
    "hostname": lambda passage: hostname(passage.host),
    "remote_addr": lambda passage: passage.remote,
    "request_method": lambda passage: passage.upstream_method,
    "scheme": lambda passage: "https" if passage.secure else "http",
    "https": lambda passage: "on" if passage.secure else "",
    "request_id": lambda passage: passage.rid,
    "consumer_name": lambda passage: None if passage.consumer is None else passage.consumer.name,
    "consumer_group_id": lambda passage: None if passage.group is None else passage.group.id,
    "service_id": lambda passage: None if passage.route is None else passage.route.service_id,
    "route_id": lambda passage: None if passage.route is None else passage.route.id,
    "status": lambda passage: str(passage.status),
}
