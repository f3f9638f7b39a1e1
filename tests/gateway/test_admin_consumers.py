"""Consumers and their credentials: the two kinds that there are a hundred thousand of."""

import pytest
from tests.gateway.harness import Admin, unique


async def _consumer(admin: Admin) -> str:
    name = unique("c")
    await admin.put("/consumers", {"username": name})
    return name


async def test_credentials_stand_below_their_consumer(admin: Admin) -> None:
    """PUT, GET, list and DELETE of a credential, by its path or with its id in the body."""
    name = await _consumer(admin)
    made = await admin.call(
        "PUT", f"/consumers/{name}/credentials/k.1", {"plugins": {"key-auth": {"key": name}}}
    )
    assert made.status == 201
    assert made.json["key"] == f"/apisix/consumers/{name}/credentials/k.1"
    by_body = await admin.call("PUT", f"/consumers/{name}/credentials", {"id": "k2", "plugins": {}})
    assert by_body.status == 201
    stored = (await admin.get(f"/consumers/{name}/credentials/k.1")).value
    assert stored["plugins"]["key-auth"]["key"] == name
    assert stored["id"] == "k.1"
    listed = (await admin.get(f"/consumers/{name}/credentials")).json
    assert listed["total"] == 2
    assert {one["value"]["id"] for one in listed["list"]} == {"k.1", "k2"}
    assert (await admin.delete(f"/consumers/{name}/credentials/k2")).status == 200


async def test_a_consumer_without_credentials(admin: Admin) -> None:
    """The credentials of a consumer that has none are 404, as those of one that is not there."""
    name = await _consumer(admin)
    for path in (f"/consumers/{name}/credentials", f"/consumers/{unique('no')}/credentials"):
        answer = await admin.get(path)
        assert answer.status == 404
        assert answer.json == {"message": "Key not found"}


async def test_a_credential_needs_its_consumer(admin: Admin) -> None:
    """A credential of nobody is refused with 404."""
    refused = await admin.call("PUT", f"/consumers/{unique('no')}/credentials/k1", {"plugins": {}})
    assert refused.status == 404
    assert "consumer not found" in refused.text


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        ({"cors": {}}, "only supports auth type plugins in consumer credential"),
        ({"key-auth": {}}, 'property "key" is required'),
    ],
)
async def test_only_authentication_in_a_credential(
    admin: Admin, plugins: dict[str, object], words: str
) -> None:
    """A credential holds one authentication plugin, whole."""
    name = await _consumer(admin)
    refused = await admin.call("PUT", f"/consumers/{name}/credentials/k1", {"plugins": plugins})
    assert refused.status == 400
    assert words in refused.error


async def test_a_wrong_credential_id(admin: Admin) -> None:
    """The id of the path and of the body must agree; credentials have no POST and no PATCH."""
    name = await _consumer(admin)
    refused = await admin.call("PUT", f"/consumers/{name}/credentials/k1", {"id": "k2", "plugins": {}})
    assert refused.status == 400
    assert "wrong credential id" in refused.error
    for method in ("POST", "PATCH"):
        assert (await admin.call(method, f"/consumers/{name}/credentials/k1", {"plugins": {}})).status == 405


async def test_a_consumer_takes_its_credentials_along(admin: Admin) -> None:
    """Deleting a consumer deletes its credentials, and not those of one whose name begins alike."""
    name = await _consumer(admin)
    other = f"{name}2"
    await admin.put("/consumers", {"username": other})
    for owner in (name, other):
        await admin.put(f"/consumers/{owner}/credentials/k1", {"plugins": {"key-auth": {"key": f"{owner}k"}}})
    assert (await admin.delete(f"/consumers/{name}")).status == 200
    assert (await admin.get(f"/consumers/{name}/credentials/k1")).status == 404
    assert (await admin.get(f"/consumers/{other}/credentials/k1")).status == 200
    await admin.put("/consumers", {"username": name})
    assert (await admin.get(f"/consumers/{name}/credentials")).status == 404


async def test_one_key_for_one_credential(admin: Admin) -> None:
    """A second credential with the same key is refused and told whose it is."""
    name = await _consumer(admin)
    key = unique("key")
    await admin.put(f"/consumers/{name}/credentials/k1", {"plugins": {"key-auth": {"key": key}}})
    refused = await admin.call(
        "PUT", f"/consumers/{name}/credentials/k2", {"plugins": {"key-auth": {"key": key}}}
    )
    assert refused.status == 400
    assert f"duplicate key of plugin key-auth found with credential: k1 of consumer: {name}" in refused.error
    await admin.put(f"/consumers/{name}/credentials/k1", {"plugins": {"key-auth": {"key": key}}})


async def test_the_list_of_consumers_holds_no_credentials(admin: Admin) -> None:
    """Credentials do not show among consumers; consumers are found by a label's name."""
    name, label = unique("c"), unique("label")
    await admin.put("/consumers", {"username": name, "labels": {label: "x"}})
    await admin.put(f"/consumers/{name}/credentials/k1", {"plugins": {}})
    found = (await admin.get(f"/consumers?label={label}")).json
    assert [one["value"]["username"] for one in found["list"]] == [name]
    everything = (await admin.get("/consumers")).json
    assert all("username" in one["value"] for one in everything["list"])


async def test_labels_may_be_many_and_odd(admin: Admin) -> None:
    """Two hundred labels, keys with spaces and unicode values are taken as they are."""
    name = unique("c")
    labels = {f"label {number}": f"wért{number}" for number in range(200)}
    stored = await admin.put("/consumers", {"username": name, "labels": labels})
    assert stored["labels"] == labels
