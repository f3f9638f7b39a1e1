"""What a gateway node says of itself, so that what it enforces can be compared with what was sold.

A node may hold hundreds of thousands of items: consumers and credentials. Each item has a *form*, the part of
it that decides about requests, and a hash of that form. Items fall into 256 buckets by their names, and a
bucket's hash is the exclusive or of its items' hashes: it does not depend on an order, and changes by one
operation with each item. Whoever knows what should be there compares 256 hashes, then lists the buckets that
differ. The form is made from a resource's body as the Admin API takes it, so either side can make it.

    form     ["consumer", name, group id or "", plugins]
             ["credential", "consumer/credentials/id", plugins]
             ["group", id, plugins]
             ["route", id, uris, methods, hosts, upstream id or "", names of all plugins, our plugins]
    text     the form as JSON: members sorted by name, no spaces, UTF-8; of a plugin's configuration, members
             that begin with `_` are left out, but for a `_meta` that says something (APISIX adds an empty
             one); `{}` is written `[]`, wherever it stands, because Lua cannot tell them apart; whole
             numbers without a point
    hash     the first 16 bytes of the SHA-256 of the text, as 32 lower-case hexadecimal digits
    bucket   the CRC-32 of the item's name ("acme", "acme/credentials/k1") modulo 256

The endpoint (embedded: `/farebox/node` at the Admin API; APISIX: `/v1/plugin/farebox-meter/node` at the
control API) demands `X-API-KEY` and answers {"v": 1, "node", "workers": [{"worker", …}]}, a member
of `workers` for each worker of the node, with

    GET                    "boot", "seq", "now" (Unix ms), "plugins": {name: version}, "settled",
                           "counts": {"consumers", "credentials", "groups", "routes"},
                           "buckets": [256 hashes], "groups": {id: hash}, "routes": {id: hash}
    GET ?bucket=17         "items": {name: hash}
    GET ?item=acme         "text": the text of the item's form, or null
    POST {"items": [...]}  "hashes": [hash or null, in their order]

A worker that did not answer in time has `error` instead. `settled` is false while a worker is still hashing
what it was loaded with: its buckets mean nothing yet. `seq` is the number of the worker's last usage line in
the stream (node, boot, worker).
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

VERSION: Final = 1
BUCKETS: Final = 256
MOST_ITEMS: Final = 500
"""How many items may be asked for at once."""
OURS: Final = "farebox-"
EDGE_PATH: Final = "/farebox/node"
APISIX_PATH: Final = "/v1/plugin/farebox-meter/node"
NO_HASH: Final = 0
_SEPARATOR: Final = "/credentials/"
_encode = msgspec.json.Encoder(order="deterministic").encode


def item_name(consumer: str, credential: str | None = None) -> str:
    """Return the name of a consumer's or a credential's item."""
    return consumer if credential is None else f"{consumer}{_SEPARATOR}{credential}"


def consumer_text(name: str, body: Mapping[str, Any]) -> bytes:
    """Return the text of a consumer's form."""
    return _text(["consumer", name, str(body.get("group_id") or ""), _plugins(body)])


def credential_text(consumer: str, credential: str, body: Mapping[str, Any]) -> bytes:
    """Return the text of a credential's form."""
    return _text(["credential", item_name(consumer, credential), _plugins(body)])


def group_text(name: str, body: Mapping[str, Any]) -> bytes:
    """Return the text of a consumer group's form."""
    return _text(["group", name, _plugins(body)])


def route_text(name: str, body: Mapping[str, Any]) -> bytes:
    """Return the text of a route's form. Stock plugins stand in it by name: a gateway adds its defaults."""
    plugins = _plugins(body)
    return _text(
        [
            "route",
            name,
            sorted(body.get("uris") or [body.get("uri") or ""]),
            sorted(body.get("methods") or []),
            sorted(body.get("hosts") or ([body["host"]] if body.get("host") else [])),
            str(body.get("upstream_id") or ""),
            sorted(plugins),
            {plugin: conf for plugin, conf in plugins.items() if plugin.startswith(OURS)},
        ]
    )


def hash_of(text: bytes) -> int:
    """Return the hash of a form's text as a number of 128 bits."""
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "big")


def shown(number: int) -> str:
    """Write a hash as it stands in an answer."""
    return f"{number:032x}"


def bucket_of(name: str) -> int:
    """Return the bucket of an item."""
    return zlib.crc32(name.encode()) % BUCKETS


def bucket_hashes(items: Iterable[tuple[str, int]]) -> list[int]:
    """Return the hash of each bucket over items with their hashes."""
    buckets = [NO_HASH] * BUCKETS
    for name, number in items:
        buckets[bucket_of(name)] ^= number
    return buckets


def _plugins(body: Mapping[str, Any]) -> dict[str, Any]:
    found: Mapping[str, Any] = body.get("plugins") or {}
    return {
        name: {
            member: value for member, value in conf.items() if member[:1] != "_" or _says_more(member, value)
        }
        for name, conf in found.items()
    }


def _says_more(member: str, value: Any) -> bool:
    return member == "_meta" and bool(value)


def _text(form: Sequence[Any]) -> bytes:
    return _encode(form).replace(b"{}", b"[]")
