"""The Lua side of what a node says of itself: its forms are the contract's, byte by byte."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.lua.runner import Nginx

from farebox_contract import node_status as contract

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(contract.__file__).parent / "node_status_vectors.json").read_text()
)["vectors"]
TEXT_OF = {"group": contract.group_text, "route": contract.route_text}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["name"])
def test_the_contract_makes_the_vectors(vector: dict[str, Any]) -> None:
    """Text, hash and bucket of each vector are what this side makes of its body."""
    name, body = vector["name"], vector["body"]
    user, _, key = name.partition("/credentials/")
    if vector["kind"] != "item":
        text = TEXT_OF[vector["kind"]](name, body)
    elif key:
        text = contract.credential_text(user, key, body)
    else:
        text = contract.consumer_text(name, body)
    assert text.decode() == vector["text"]
    assert contract.shown(contract.hash_of(text)) == vector["hash"]
    assert contract.bucket_of(name) == vector["bucket"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["name"])
def test_lua_makes_the_vectors(lua: Nginx, vector: dict[str, Any]) -> None:
    """The plugins make the same of it."""
    [text] = lua.call("node_forms", vector["kind"], vector["name"], vector["body"])
    assert text == vector["text"]
    assert lua.call("node_forms", "hash", text) == [vector["hash"]]
    assert lua.call("node_forms", "bucket", vector["name"]) == [vector["bucket"]]
