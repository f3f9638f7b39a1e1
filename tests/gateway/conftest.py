"""One gateway for all contract tests of a run; every test uses names of its own."""

from tests.gateway.fixtures import admin, client, gateway, upstream

__all__ = ["admin", "client", "gateway", "upstream"]
