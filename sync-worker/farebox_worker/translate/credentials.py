"""An API key as a credential of its organization's consumer. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from farebox_contract.plugins import AUTH
from farebox_gateway import resources
from farebox_gateway.resources import Resource
from farebox_worker.translate.instants import milliseconds


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """An API key that is not revoked. `revision` is the organization's at the key's last change."""

    public_id: str
    environment: str
    digest: str
    expires_at: datetime | None
    revision: int


def credential(consumer: str, key: KeyFacts) -> Resource:
    """Return the credential of a living key."""
    conf: dict[str, Any] = {"digest": key.digest, "environment": key.environment}
    if key.expires_at is not None:
        conf["expires_at"] = milliseconds(key.expires_at)
    return resources.credential(consumer, key.public_id, plugins={AUTH: conf}, revision=key.revision)
