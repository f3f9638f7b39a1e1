"""Headers that configurations name and fill in with variables: what is a name, and what a value may hold."""

import re
from typing import Final

from farebox_gateway.edge import variables
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.schema import InvalidError

VALUES: Final = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {"^[^:]+$": {"type": ["string", "number"]}},
}
"""Values by name, in the schema of a plugin."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def check_name(name: str) -> None:
    """Raise `InvalidError` for what is no field name (RFC 9110, section 5.1)."""
    if not _TOKEN.match(name):
        raise InvalidError("invalid field character in header")


def clean(text: str) -> str:
    """Return a value without what would end the line or the head."""
    return _CONTROL.sub("", text)


def line(name: str, value: str, exchange: Passage) -> tuple[bytes, bytes]:
    """Return a header of an answer, the variables in its value filled in."""
    return name.encode(), clean(variables.fill(value, exchange)[0]).encode("utf-8", "surrogateescape")
