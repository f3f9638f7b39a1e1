"""Passes over everything: they rebuild, repair, report, and do nothing where nothing is to be done."""

from tests.integration.sync.world import World

from farebox_gateway import resources
from farebox_gateway.resources import Kind, Ref
from farebox_worker.translate import CANARY_ROUTE


async def test_an_empty_gateway_is_built_and_a_second_pass_writes_nothing(world: World) -> None:
    """After one pass keys work; the gateway itself counts no write in a second."""
    first, second = await world.found(), await world.found()
    key, other = await world.issue(first), await world.issue(second, environment="test")
    report = await world.full_pass()
    assert (report.failed, report.catalogue_error, report.organizations) == (0, None, 2)
    assert report.changed == 2
    assert [await world.call(each.text) for each in (key, other)] == [200, 200]
    assert await world.call(None) == 401
    before = await world.writes()
    again = await world.full_pass()
    assert await world.writes() == before
    assert (again.writes, again.organizations, again.drift) == (0, 2, {})
    assert await world.enforced(first)
    assert await world.enforced(second)
    assert await world.open_rows() == 0


async def test_a_wiped_gateway_is_rebuilt_whole(world: World) -> None:
    """Everything is put back although the database believes it applied, and is reported as missing."""
    customer = await world.found()
    key = await world.issue(customer)
    await world.full_pass()
    async with world.admin() as admin:
        await admin.delete(Ref(Kind.CONSUMER, customer.public_id))
        for kind in (Kind.ROUTE, Kind.CONSUMER_GROUP, Kind.UPSTREAM):
            async for page in admin.pages(kind):
                for found in page:
                    await admin.delete(found.ref)
    assert await world.call(key.text) == 404
    report = await world.full_pass()
    assert await world.call(key.text) == 200
    assert report.drift["missing"] == 8  # consumer, credential, 3 plans, upstream, route, canary


async def test_drift_is_repaired_where_it_is_ours_and_reported_where_it_is_not(world: World) -> None:
    """A tampered object is put right; foreign ones stay; both stand in the report and in the database."""
    customer = await world.found()
    key = await world.issue(customer)
    await world.full_pass()
    credential = Ref(Kind.CREDENTIAL, key.name.key, customer.public_id)
    foreign = resources.Ref(Kind.CONSUMER, "somebody-else")
    async with world.admin() as admin:
        found = await admin.get(credential)
        assert found is not None
        tampered = {k: v for k, v in found.body.items() if k not in {"create_time", "update_time"}}
        tampered["plugins"] = {"farebox-auth": {"digest": "0" * 64, "environment": "live"}}
        await admin.put(credential, tampered)
        await admin.put(foreign, {"username": "somebody-else", "plugins": {}})
        backdoor = Ref(Kind.CREDENTIAL, "backdoor", customer.public_id)
        await admin.put(backdoor, {"plugins": {"farebox-auth": {"digest": "1" * 64, "environment": "live"}}})
        assert await world.call(key.text) == 401
        report = await world.full_pass()
        assert await world.call(key.text) == 200
        assert report.drift == {"changed": 1, "foreign": 2}
        assert report.examples["changed"] == [str(credential)]
        assert sorted(report.examples["foreign"]) == sorted([str(foreign), str(backdoor)])
        assert await admin.get(foreign) is not None
        assert await admin.get(backdoor) is not None
        await admin.delete(foreign)
        await admin.delete(backdoor)
    [row] = await world.rows("SELECT last_full_pass FROM gateways")
    assert row["last_full_pass"]["drift"] == {"changed": 1, "foreign": 2}


async def test_one_bad_object_does_not_stop_the_others(world: World) -> None:
    """A consumer that stands in the way fails its organization, visibly, and nobody else."""
    bad, good = await world.found(), await world.found()
    key = await world.issue(good)
    async with world.admin() as admin:
        await admin.put(Ref(Kind.CONSUMER, bad.public_id), {"username": bad.public_id, "plugins": {}})
    report = await world.full_pass()
    assert await world.call(key.text) == 200
    assert list(report.failures) == [bad.public_id]
    [row] = await world.rows(
        "SELECT attempts, last_error, next_attempt_at > now() AS later FROM gateway_organizations "
        "WHERE organization_id = :id", id=bad.id,
    )  # fmt: skip
    assert row["attempts"] == 1
    assert row["later"]
    assert "managed-by=farebox" in row["last_error"]
    assert not await world.enforced(bad)
    assert await world.enforced(good)
    async with world.admin() as admin:
        await admin.delete(Ref(Kind.CONSUMER, bad.public_id))


async def test_closed_organizations_go_and_unknown_ones_wait_for_a_person(world: World) -> None:
    """A pass removes what is closed; what no row explains is only reported, until `cleanup` is run."""
    closed, stranger = await world.found(), "unknown001"
    key = await world.issue(closed)
    await world.full_pass()
    await world.set_state(closed, "closed")
    made = resources.consumer(stranger, plugins={}, revision=1)
    async with world.admin() as admin:
        await admin.put(made.ref, made.body)
        report = await world.full_pass()
        assert await world.call(key.text) == 401
        assert await admin.get(Ref(Kind.CONSUMER, closed.public_id)) is None
        assert await admin.get(made.ref) is not None
        assert (report.removed, report.unknown) == (1, 1)
        cleaned = await world.full_pass(scope="cleanup")
        assert cleaned.removed == 1
        assert await admin.get(made.ref) is None


async def test_keys_alone_can_be_brought_right(world: World) -> None:
    """The scope `keys` writes credentials and nothing else, and claims no revision as applied."""
    customer = await world.found()
    await world.full_pass()
    key = await world.issue(customer)
    await world.set_state(customer, "suspended")
    await world.full_pass(scope="keys")
    assert await world.call(key.text) == 200
    assert not await world.enforced(customer)
    await world.full_pass()
    assert await world.call(key.text) == 403


async def test_a_restored_database_revives_no_key(world: World) -> None:
    """What the gateway carries at a newer revision is left alone until a person says otherwise."""
    customer = await world.found()
    key = await world.issue(customer)
    await world.full_pass()
    await world.revoke(customer, key)
    await world.full_pass()
    assert await world.call(key.text) == 401
    await world.rows(
        "UPDATE api_keys SET state = 'active', revoked_at = NULL, revoked_by = NULL WHERE digest = :digest",
        digest=key.digest,
    )
    await world.rows(
        "UPDATE organizations SET edge_revision = edge_revision - 1 WHERE id = :id", id=customer.id
    )
    report = await world.full_pass()
    assert await world.call(key.text) == 401
    assert "restored" in report.failures[customer.public_id]
    await world.full_pass(overwrite_newer=True)
    assert await world.call(key.text) == 200


async def test_an_expired_key_leaves_the_gateway(world: World) -> None:
    """A key that has expired is no longer among what is desired, and is removed."""
    customer = await world.found()
    key = await world.issue(customer)
    await world.full_pass()
    await world.rows(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE digest = :digest",
        digest=key.digest,
    )
    report = await world.full_pass()
    assert report.drift == {}
    async with world.admin() as admin:
        assert await admin.credentials(customer.public_id) == []


async def test_the_canary_tells_an_accepted_write_from_an_enforced_one(world: World) -> None:
    """Where the data plane is not the one that the Admin API writes to, the pass says so."""
    world.overrides["gateway_data_url"] = f"http://127.0.0.1:{world.upstream.port}"
    report = await world.full_pass()
    assert report.catalogue_error is not None
    assert "does not do what was pushed" in report.catalogue_error
    [row] = await world.rows("SELECT catalogue_error, applied_catalogue_revision FROM gateways")
    assert row["applied_catalogue_revision"] == 0
    async with world.admin() as admin:
        assert await admin.get(Ref(Kind.ROUTE, CANARY_ROUTE)) is not None
