"""The headers by which APISIX, and so this gateway, tells an upstream whose request this is."""

from typing import Final

from multidict import istr

from farebox_gateway.edge.exchange import Exchange

_USERNAME: Final = istr("X-Consumer-Username")
_CREDENTIAL: Final = istr("X-Credential-Identifier")
_GROUP: Final = istr("X-Consumer-Group-Id")
_CUSTOM_ID: Final = istr("X-Consumer-Custom-ID")


def name_consumer(exchange: Exchange) -> None:
    """Name consumer, credential and group; what the client said under these names was removed before."""
    headers, consumer = exchange.headers, exchange.consumer
    if consumer is None:
        return
    headers[_USERNAME] = consumer.name
    if exchange.credential is not None:
        headers[_CREDENTIAL] = exchange.credential.id
    if consumer.group_id:
        headers[_GROUP] = consumer.group_id
    if consumer.custom_id:
        headers[_CUSTOM_ID] = consumer.custom_id
