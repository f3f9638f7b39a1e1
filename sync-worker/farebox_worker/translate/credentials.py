"""An API key as a credential of its organization's consumer; an imported one, of a consumer of all. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farebox_contract import imported_keys
from farebox_contract.plugins import AUTH
from farebox_gateway import resources
from farebox_gateway.resources import Resource
from farebox_worker.translate.instants import milliseconds


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """An API key that is not revoked. `revision` is the organization's at the key's last change.

    `imported`: its text was made elsewhere and names nobody.
    """

    public_id: str
    environment: str
    digest: str
    expires_at: datetime | None
    revision: int
    scopes: tuple[str, ...] | None = None
    cidrs: tuple[str, ...] | None = None
    imported: bool = False


def credential(consumer: str, key: KeyFacts) -> Resource:
    """Return the credential of a living key."""
    conf: dict[str, Any] = {"digest": key.digest, "environment": key.environment}
    if key.expires_at is not None:
        conf["expires_at"] = milliseconds(key.expires_at)
    if key.cidrs is not None:
        conf["cidrs"] = list(key.cidrs)
    if key.scopes is not None:
        conf["scopes"] = list(key.scopes)
    if key.imported:
        conf |= {"organization": consumer, "key": key.public_id}
        return resources.credential(
            imported_keys.CONSUMER, key.digest, plugins={AUTH: conf}, revision=key.revision
        )
    return resources.credential(consumer, key.public_id, plugins={AUTH: conf}, revision=key.revision)
