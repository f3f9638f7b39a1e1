"""What stands in a request's first line and headers, read for routing and shown in the usage line. Pure."""

from typing import Final
from urllib.parse import quote_from_bytes

from farebox_contract.usage_line import MAX_PATH_CHARACTERS, MAX_USER_AGENT_CHARACTERS

_PATH_SAFE: Final = "/%:@!$&'()*+,;=-._~"
_OURS: Final = frozenset(
    {"x-consumer-username", "x-credential-identifier", "x-consumer-group-id", "x-consumer-custom-id"}
)
_OUR_PREFIX: Final = "x-farebox-"


def speaks_for_us(header: str) -> bool:
    """Tell whether a header claims what only the gateway may claim about a consumer.

    Underscores count as hyphens: CGI and WSGI upstreams cannot tell `X_Consumer_Username` from ours.
    """
    if header[:1] not in {"X", "x"}:
        return False
    name = header.lower().replace("_", "-")
    return name in _OURS or name.startswith(_OUR_PREFIX)


def from_absolute(target: str, host: str) -> tuple[str, str]:
    """Return path and authority of an absolute-form target (RFC 9112, 3.2.2), which overrides Host."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return target, host
    authority, slash, path = rest.partition("/")
    return slash + path or "/", authority


def path_of(target: str) -> str:
    """Return the path of a request target, without query string and fragment."""
    return target.partition("?")[0].partition("#")[0]


def hostname(host: str) -> str:
    """Return the name in a Host header, in lower case, without its port."""
    if host.endswith("]"):
        return host.lower()
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def shown_path(target: str) -> str:
    """Return the path as the usage line shows it: ASCII, printable, cut to the contract's length."""
    path = path_of(target)
    if not path.isascii() or not path.isprintable():
        path = quote_from_bytes(path.encode("utf-8", "surrogateescape"), safe=_PATH_SAFE)
    return path[:MAX_PATH_CHARACTERS]


def shown_agent(agent: str) -> str:
    """Return the User-Agent as the usage line shows it: valid Unicode, cut to the contract's length."""
    agent = agent[:MAX_USER_AGENT_CHARACTERS]
    if agent.isascii():
        return agent
    return agent.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:MAX_USER_AGENT_CHARACTERS]
