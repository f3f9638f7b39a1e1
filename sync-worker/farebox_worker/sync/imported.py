"""Imported keys at a gateway: they stand under one consumer of all organizations, each named by its digest.

An organization's own are observed one by one, because the list is everybody's. The consumer itself is wanted
as long as anybody needs it and is never deleted; what stands under it and belongs to nobody is found by the
full pass.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from farebox_contract import imported_keys
from farebox_contract.plugins import AUTH
from farebox_gateway import resources
from farebox_gateway.planner import Step, Why
from farebox_gateway.resources import Kind, Ref, Resource
from farebox_worker.translate import OrganizationFacts

if TYPE_CHECKING:
    from farebox_worker.sync.reconcile import Reconciler

CONSUMER: Final = resources.consumer(imported_keys.CONSUMER, plugins={AUTH: {"state": "active"}}, revision=1)
"""Whose keys they are, and whether he is suspended, the credentials say by naming their organization."""
_BATCH: Final = 1000
_KNOWN: Final = text(
    "SELECT k.digest, k.state = 'active' AND o.state <> 'closed' AS holds FROM api_keys k "
    "JOIN organizations o ON o.id = k.organization_id "
    "WHERE k.digest = ANY(:digests) AND k.origin = 'imported'"
)


@dataclass(frozen=True, slots=True)
class Strays:
    """Credentials of ours under the consumer: whose key has ended, and of keys that nobody knows."""

    ended: tuple[Step, ...] = ()
    unknown: tuple[Step, ...] = ()


def desired(facts: OrganizationFacts) -> list[Resource]:
    """Return what an organization with imported keys needs besides its own consumer."""
    return [CONSUMER] if facts.imported else []


def refs(facts: OrganizationFacts) -> list[Ref]:
    """Return where anything of the organization's imported keys may stand."""
    if not facts.imported:
        return []
    return [
        CONSUMER.ref,
        *(Ref(Kind.CREDENTIAL, digest, imported_keys.CONSUMER) for digest in facts.imported),
    ]


async def strays(reconciler: "Reconciler") -> Strays:
    """Return the steps that would delete what stands under the consumer and should not."""
    async with reconciler.slots:
        standing = await reconciler.client.credentials(imported_keys.CONSUMER)
    ours = [found.ref for found in standing if found.ours]
    holds: dict[str, bool] = {}
    for start in range(0, len(ours), _BATCH):
        digests = [ref.id for ref in ours[start : start + _BATCH]]
        async with reconciler.database.transaction() as session:
            holds.update(
                {row.digest: row.holds for row in await session.execute(_KNOWN, {"digests": digests})}
            )
    return Strays(
        tuple(Step("delete", ref, Why.NOT_WANTED) for ref in ours if holds.get(ref.id) is False),
        tuple(Step("delete", ref, Why.NOT_WANTED) for ref in ours if ref.id not in holds),
    )
