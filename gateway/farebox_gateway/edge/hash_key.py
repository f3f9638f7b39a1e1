"""By what text of a request a consistent hash chooses its node."""

from farebox_gateway.edge import variables
from farebox_gateway.edge.passage import Passage
from farebox_gateway.edge.upstream import HashOn

_PREFIXES = {"header": "http_", "cookie": "cookie_"}


def hash_key(on: HashOn, passage: Passage) -> str:
    """Return what the configuration names; the client's address where the request has none of it."""
    found: str | None
    if on.what == "consumer":
        found = variables.value("consumer_name", passage)
    elif on.what == "vars_combinations":
        text, resolved = variables.fill(on.key, passage)
        found = text if resolved else None
    else:
        found = variables.value(_PREFIXES.get(on.what, "") + on.key, passage)
    return passage.remote if found is None else found
