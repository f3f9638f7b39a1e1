"""The gateway under test, ours or another, as in tests/gateway."""

from tests.gateway.fixtures import admin, client, gateway, upstream

__all__ = ["admin", "client", "gateway", "upstream"]
