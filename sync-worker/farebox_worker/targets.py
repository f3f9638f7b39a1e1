"""Which gateways there are to push to, and where each is reached.

The table `gateways` says which exist; where they are and the key of their Admin API is the environment's
matter, because it is a secret. The settings name one, `default`.
"""

from dataclasses import dataclass, field
from typing import Final

from farebox.settings import Settings

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Target:
    """One gateway. `timeout` (seconds) bounds every call; `full_pass` is how often all of it is compared."""

    code: str
    admin_url: str
    data_url: str
    timeout: float
    full_pass: float
    key_prefix: str
    admin_key: str = field(repr=False)


def targets(settings: Settings) -> tuple[Target, ...]:
    """Return the gateways that the settings name."""
    return (
        Target(
            code=DEFAULT,
            admin_url=settings.gateway_admin_url,
            data_url=settings.gateway_data_url,
            timeout=settings.gateway_timeout_seconds,
            full_pass=settings.full_pass_seconds,
            key_prefix=settings.key_prefix,
            admin_key=settings.gateway_admin_key.get_secret_value(),
        ),
    )
