"""What a node must hold of what was sold, as hashes of forms. Pure."""

from collections.abc import Iterable, Iterator

from farebox_contract import node_status as contract
from farebox_gateway.resources import Kind, Ref, Resource


def name_of(ref: Ref) -> str | None:
    """Return the name of a consumer's or a credential's item; None for every other resource."""
    if ref.kind is Kind.CREDENTIAL:
        return contract.item_name(ref.consumer, ref.id)
    return ref.id if ref.kind is Kind.CONSUMER else None


def ref_of(name: str) -> Ref:
    """Return where the item stands in the Admin API."""
    consumer, _, credential = name.partition("/credentials/")
    return Ref(Kind.CREDENTIAL, credential, consumer) if credential else Ref(Kind.CONSUMER, consumer)


def text_of(resource: Resource) -> bytes:
    """Return the text of a resource's form."""
    ref, body = resource.ref, resource.body
    if ref.kind is Kind.CREDENTIAL:
        return contract.credential_text(ref.consumer, ref.id, body)
    if ref.kind is Kind.CONSUMER:
        return contract.consumer_text(ref.id, body)
    text = contract.group_text if ref.kind is Kind.CONSUMER_GROUP else contract.route_text
    return text(ref.id, body)


def hash_of(resource: Resource) -> int:
    """Return the hash of a resource's form."""
    return contract.hash_of(text_of(resource))


def items(resources: Iterable[Resource]) -> Iterator[tuple[str, int]]:
    """Yield name and hash of every consumer and credential among the resources."""
    for resource in resources:
        name = name_of(resource.ref)
        if name is not None:
            yield name, hash_of(resource)


def few(resources: Iterable[Resource], kind: Kind) -> dict[str, str]:
    """Return the hashes of the groups or routes among the resources, as a node shows them."""
    return {each.ref.id: contract.shown(hash_of(each)) for each in resources if each.ref.kind is kind}
