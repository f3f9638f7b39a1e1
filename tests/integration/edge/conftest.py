"""The upstream and a client, for tests that start gateways of their own."""

from tests.gateway.fixtures import client, upstream

__all__ = ["client", "upstream"]
