"""Keys of `key-auth` as they stand on the disk: sealed, so that a copy of the folder gives nobody a key.

The Admin API shows them in clear, as APISIX's does, so a digest would not do. The secret comes from the
environment and is never in the folder. `farebox-auth` needs none of this: it holds digests.
"""

import base64
import os
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_PLUGIN: Final = "key-auth"
_MARK: Final = b'"key-auth"'
_SEALED: Final = "sealed"
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"farebox edge state, key-auth"


class UnsealError(RuntimeError):
    """The state was sealed with another secret, or changed; the message says what to do."""


class Sealer:
    """Seals and opens with AES-256-GCM under a key made of a secret text."""

    def __init__(self, secret: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret.encode())
        self._cipher = AESGCM(key)

    def seal(self, raw: bytes) -> bytes:
        """Return a resource's JSON as it goes to the disk."""
        if _MARK not in raw:
            return raw
        value = msgspec.json.decode(raw)
        conf = _conf(value)
        if conf is None or not isinstance(conf.get("key"), str):
            return raw
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, conf.pop("key").encode("utf-8", "surrogatepass"), None)
        conf[_SEALED] = base64.b64encode(sealed).decode()
        return msgspec.json.encode(value)

    def open(self, value: Any) -> Any:
        """Return a resource as it was sealed, or as it is where nothing is. Raises `UnsealError`."""
        conf = _conf(value)
        if conf is None or _SEALED not in conf:
            return value
        sealed = base64.b64decode(conf.pop(_SEALED))
        try:
            text = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except InvalidTag:
            raise UnsealError(
                "the state folder holds key-auth keys that were sealed with another secret: set"
                " FAREBOX_EDGE_DATA_KEY to the former one (without it, it was the former"
                " FAREBOX_EDGE_ADMIN_KEY), or move the folder away and run `farebox sync all`"
            ) from None
        conf["key"] = text.decode("utf-8", "surrogatepass")
        return value


def _conf(value: Any) -> dict[str, Any] | None:
    plugins = value.get("plugins") if isinstance(value, dict) else None
    conf = plugins.get(_PLUGIN) if isinstance(plugins, dict) else None
    return conf if isinstance(conf, dict) else None
