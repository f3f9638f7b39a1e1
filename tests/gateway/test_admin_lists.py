"""Lists and their pages, with the habits that a client of APISIX has to know."""

import pytest
from tests.gateway.harness import Admin, unique


@pytest.fixture(name="owner")
async def _owner(admin: Admin) -> str:
    """A consumer with 25 credentials, made from k24 down to k00: a list that no other test touches."""
    name = unique("c")
    await admin.put("/consumers", {"username": name})
    for number in range(24, -1, -1):
        await admin.put(f"/consumers/{name}/credentials/k{number:02d}", {"plugins": {}})
    return name


async def test_without_pages_everything_comes_by_key(admin: Admin, owner: str) -> None:
    """One of the two parameters alone does not page, nor does one that is no number."""
    for query in ("", "?page=1", "?page_size=10", "?page=a&page_size=10"):
        listed = (await admin.get(f"/consumers/{owner}/credentials{query}")).json
        assert listed["total"] == 25, query
        assert [one["value"]["id"] for one in listed["list"]] == [f"k{number:02d}" for number in range(25)]


async def test_pages_come_in_order_of_creation(admin: Admin, owner: str) -> None:
    """Pages hold what was made first, first; `total` is the whole."""
    pages = [
        (await admin.get(f"/consumers/{owner}/credentials?page={n}&page_size=10")).json for n in (1, 2, 3)
    ]
    ids = [one["value"]["id"] for page in pages for one in page["list"]]
    assert ids == [f"k{number:02d}" for number in range(24, -1, -1)]
    assert {page["total"] for page in pages} == {25}


async def test_page_zero_is_page_one(admin: Admin, owner: str) -> None:
    """Pages below one are the first."""
    path = f"/consumers/{owner}/credentials"
    first = (await admin.get(f"{path}?page=1&page_size=10")).json
    for number in (0, -1):
        assert (await admin.get(f"{path}?page={number}&page_size=10")).json == first


async def test_a_page_past_the_end_is_an_object(admin: Admin, owner: str) -> None:
    """Past the end `list` is `{}`, not `[]`."""
    beyond = await admin.get(f"/consumers/{owner}/credentials?page=9&page_size=10")
    assert beyond.status == 200
    assert beyond.json == {"list": {}, "total": 25}


@pytest.mark.parametrize("size", [9, 501, 0])
async def test_page_sizes_have_bounds(admin: Admin, owner: str, size: int) -> None:
    """A page holds 10 to 500; the refusal is text, not JSON."""
    refused = await admin.get(f"/consumers/{owner}/credentials?page=1&page_size={size}")
    assert refused.status == 400
    assert refused.text.strip() == "page_size must be between 10 and 500"
