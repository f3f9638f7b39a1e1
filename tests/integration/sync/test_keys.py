"""What was decided about a key holds at the gateway: restrictions, rotation, leaks, keys from elsewhere."""

import hashlib
from datetime import timedelta

from tests.integration.sync.world import Customer, World

from farebox.keys import importing, leaks, rotation
from farebox.keys.importing import ForeignKey
from farebox_contract.imported_keys import CONSUMER
from farebox_gateway import resources
from farebox_gateway.resources import Kind, Ref

ELSEWHERE = [f"sk_live_{number:064x}" for number in range(3)]
DIGESTS = [hashlib.sha256(each.encode()).hexdigest() for each in ELSEWHERE]


async def take_over(world: World, customer: Customer, *digests: str) -> None:
    """Import keys for a customer."""
    async with world.app.transaction(organization=customer.id) as session:
        await importing.take_over(
            session,
            customer.id,
            [ForeignKey(digest=digest, name=digest[:8]) for digest in digests],
            creator=customer.owner,
            now=world.clock.now(),
        )


async def standing(world: World) -> set[str]:
    """The digests that stand at the gateway."""
    async with world.admin() as admin:
        return {found.ref.id for found in await admin.credentials(CONSUMER)}


async def test_scopes_and_networks_hold_at_the_gateway(world: World) -> None:
    """A key is refused outside of its scopes and its networks, and accepted within."""
    customer = await world.found()
    inside = await world.issue(customer, scopes=["GET api"], cidrs=["127.0.0.0/8", "::1/128"])
    other_route = await world.issue(customer, scopes=["GET elsewhere"])
    other_place = await world.issue(customer, cidrs=["203.0.113.0/24"])
    await world.full_pass()
    assert [await world.call(key.text) for key in (inside, other_route, other_place)] == [200, 403, 403]


async def test_both_keys_of_a_rotation_work_until_the_grace_is_over(world: World) -> None:
    """With a grace both are accepted; without one the old key is refused as soon as that is enforced."""
    customer = await world.found()
    keys = [await world.issue(customer) for _ in range(2)]
    successors = []
    for key, grace in zip(keys, (timedelta(hours=1), timedelta()), strict=True):
        async with world.app.transaction(organization=customer.id) as session:
            done = await rotation.rotate(
                session, customer.id, key.name.key, rotator=customer.owner, may_rotate_all=True, grace=grace,
                expires_at=None, prefix="fbx", now=world.clock.now(),
            )  # fmt: skip
        successors.append(done.successor.key)
    await world.full_pass()
    assert [await world.call(key.text) for key in (*keys, *successors)] == [200, 401, 200, 200]


async def test_a_reported_key_is_refused_once_that_is_enforced(world: World) -> None:
    """The report of a stranger reaches the gateway like a revocation by the owner."""
    customer = await world.found()
    key = await world.issue(customer)
    async with world.working():
        await world.settled(customer)
        assert await world.call(key.text) == 200
        async with world.app.transaction() as session:
            await leaks.report(session, key.text, source=None, now=world.clock.now())
        await world.settled(customer)
        assert await world.call(key.text) == 401


async def test_keys_from_elsewhere_stand_under_one_consumer(world: World) -> None:
    """Two organizations' imported keys work; each goes with its revocation or its organization."""
    first, second = await world.found(), await world.found()
    await take_over(world, first, *DIGESTS[:2])
    await take_over(world, second, DIGESTS[2])
    await world.full_pass()
    assert await standing(world) == set(DIGESTS)
    assert [await world.call(text) for text in ELSEWHERE] == [200, 200, 200]
    before = await world.writes()
    assert (await world.full_pass()).drift == {}
    assert await world.writes() == before, "a pass with nothing to change sends no write"
    async with world.app.transaction() as session:
        await leaks.report(session, ELSEWHERE[0], source=None, now=world.clock.now())
    await world.set_state(second, "closed")
    await world.full_pass()
    assert await standing(world) == {DIGESTS[1]}
    assert [await world.call(text) for text in ELSEWHERE] == [401, 200, 401]


async def test_what_stands_of_imported_keys_that_ended_or_are_unknown(world: World) -> None:
    """A key that ended long ago goes with any pass; one that nobody knows with a cleanup alone."""
    customer = await world.found()
    await take_over(world, customer, DIGESTS[0])
    await world.full_pass()
    await world.rows("UPDATE api_keys SET state = 'revoked', revoked_at = now() - interval '2 days'")
    async with world.admin() as admin:
        conf = {"digest": DIGESTS[1], "environment": "live"}
        conf |= {"organization": customer.public_id, "key": "unknown000"}
        unknown = resources.credential(CONSUMER, DIGESTS[1], plugins={"farebox-auth": conf}, revision=1)
        await admin.put(unknown.ref, unknown.body)
        foreign = Ref(Kind.CREDENTIAL, DIGESTS[2], CONSUMER)
        await admin.put(foreign, {"plugins": {"farebox-auth": conf | {"digest": DIGESTS[2]}}})
    report = await world.full_pass()
    assert await standing(world) == set(DIGESTS[1:])
    assert report.drift["unknown imported key"] == 1
    await world.full_pass(scope="cleanup")
    assert await standing(world) == {DIGESTS[2]}
