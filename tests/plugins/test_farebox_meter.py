"""farebox-meter and the usage line: what is written about an answered request."""

import asyncio
import json
from typing import Any

import pytest
from tests.gateway.harness import enforced, raw_exchange, unique
from tests.plugins.accounts import Account, this_month

from farebox_contract import usage_line


def _require_log(account: Account) -> None:
    if not account.admin.gateway.log_is_known:
        pytest.skip("FAREBOX_TEST_GATEWAY_USAGE_LOG does not say where this gateway's usage log is")


async def _lines(account: Account, count: int = 1) -> list[usage_line.UsageLine]:
    """Return the last lines of this account's route; the answer is out, so they must be in."""
    _require_log(account)
    await account.admin.gateway.written(account.session)
    mine = [line for line in account.admin.gateway.raw_lines() if account.route.encode() in line]
    return [usage_line.decode(line) for line in mine[-count:]]


async def test_a_served_request(account: Account) -> None:
    """The line of a served request names everything, and is there when the answer is."""
    group = unique("g")
    await account.admin.put(f"/consumer_groups/{group}", {"plugins": {"farebox-limit": {"limits": []}}})
    await account.put_consumer(group=group, farebox_limit={"subscription": "sub-1", "periods": this_month()})
    response = await account.session.post(
        f"{account.url}?secret=1",
        data=b"12345",
        headers={"Authorization": f"Bearer {account.key.text}", "User-Agent": "test/1 é"},
    )
    size = len(await response.read())
    (line,) = await _lines(account)
    assert (line.org, line.key, line.env) == (account.organization, account.key.name.key, "live")
    assert (line.sub, line.group, line.route) == ("sub-1", group, account.route)
    assert (line.method, line.path, line.status) == ("POST", f"/{account.route}/x", 200)
    assert (line.outcome, line.units) == ("served", 1)
    assert line.in_ > 5
    assert size < line.out < size + 600
    assert line.up_us is not None
    assert 0 < line.up_us <= line.us
    assert line.ip == "127.0.0.1"
    assert line.ua.startswith("test/1")
    assert len(line.rid) == 32


async def test_the_client_cannot_choose_the_request_id(account: Account) -> None:
    """Whatever ids the client sends, each line has its own."""
    for _ in range(2):
        await account.get(headers={"X-Request-Id": "same", "X-Farebox-Request-Id": "same"})
    first, second = await _lines(account, 2)
    assert first.rid != second.rid
    assert "same" not in (first.rid, second.rid)


async def test_the_route_s_weight(account: Account) -> None:
    """`units` of the route is in the line, also when it is 0."""
    _require_log(account)
    for units in (7, 0):
        await account.put_route(farebox_meter={"units": units})
        for _ in range(100):
            await account.until(200)
            (line,) = await _lines(account)
            if line.units == units:
                break
        assert line.units == units


async def test_the_upstream_s_units(account: Account) -> None:
    """`X-Farebox-Units` counts and is hidden where the route opts in; elsewhere it means nothing."""
    url = account.url.removesuffix("/x") + "/units/42"
    await account.get(url=url)
    assert (await _lines(account))[0].units == 1
    await account.put_route(farebox_meter={"upstream_units": True})
    response = await enforced(
        lambda: account.get(url=url), lambda answer: "X-Farebox-Units" not in answer.headers
    )
    assert response.status == 200
    assert (await _lines(account))[0].units == 42
    for odd in ("-5", "1.5", "many", "9" * 20):
        await account.get(url=account.url.removesuffix("/x") + f"/units/{odd}")
        assert (await _lines(account))[0].units == 1


async def test_a_refused_key(account: Account) -> None:
    """A 401 has a line with nobody in it, and no trace of the key that was tried."""
    text = account.key.text[:-1]
    async with account.session.get(account.url, headers={"X-API-Key": text}) as response:
        assert response.status == 401
    (line,) = await _lines(account)
    assert (line.status, line.outcome, line.route) == (401, "unauthorized", account.route)
    assert (line.org, line.key, line.sub, line.group, line.env) == (None,) * 5
    assert text not in account.admin.gateway.log_path.read_text()
    assert account.key.text not in account.admin.gateway.log_path.read_text()


async def test_refusals_are_told_apart(account: Account) -> None:
    """403 is `forbidden`, a window's 429 `rate_limited`, a quota's `quota_exceeded`; all name the account."""
    group = unique("g")
    conf: dict[str, Any] = {"limits": [{"name": "d", "requests": 1, "window": 86400}]}
    await account.admin.put(f"/consumer_groups/{group}", {"plugins": {"farebox-limit": conf}})
    terms = {"subscription": "s", "periods": this_month()}
    await account.put_consumer(group=group, farebox_limit=terms)
    await account.until(429)
    assert (await _lines(account))[0].outcome == "rate_limited"
    await account.put_consumer(
        group=group, farebox_limit={**terms, "limits": [], "quota": {"units": 1, "kind": "hard"}}
    )
    await account.until(200)
    await account.until(429)
    assert (await _lines(account))[0].outcome == "quota_exceeded"
    await account.put_consumer(group=group, state="suspended")
    await account.until(403)
    (line,) = await _lines(account)
    assert (line.outcome, line.org, line.key) == ("forbidden", account.organization, account.key.name.key)


async def test_an_upstream_that_fails(account: Account) -> None:
    """The gateway's own 502 is `upstream_error`; a 500 that the upstream says is `served`."""
    base = account.url.removesuffix("/x")
    assert (await account.get(url=f"{base}/broken/off")).status == 502
    assert ((await _lines(account))[0].status, (await _lines(account))[0].outcome) == (502, "upstream_error")
    assert (await account.get(url=f"{base}/status/500")).status == 500
    assert ((await _lines(account))[0].status, (await _lines(account))[0].outcome) == (500, "served")


async def test_an_answer_that_breaks_off(account: Account) -> None:
    """A body that the upstream cuts short is cut short for the client too, and is `upstream_error`."""
    base = account.url.removesuffix("/x").removeprefix(account.admin.gateway.data)
    request = f"GET {base}/broken/body HTTP/1.1\r\nHost: h\r\nX-API-Key: {account.key.text}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", account.admin.gateway.data_port)
    writer.write(request.encode())
    answer = b""
    try:
        while chunk := await reader.read(65536):
            answer += chunk
    except ConnectionResetError:
        answer += b""
    writer.close()
    assert len(answer.partition(b"\r\n\r\n")[2]) < 1000
    (line,) = await _lines(account)
    assert (line.outcome, line.status) == ("upstream_error", 200)


async def test_a_client_that_leaves(account: Account) -> None:
    """A client gone before the upstream answered is 499; gone after, it has the upstream's status."""
    gate = unique("gate")
    base = account.url.removesuffix("/x").removeprefix(account.admin.gateway.data)
    request = f"GET {base}/gated/{gate} HTTP/1.1\r\nHost: h\r\nX-API-Key: {account.key.text}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", account.admin.gateway.data_port)
    writer.write(request.encode())
    await account.upstream.gate(f"{gate}-arrived").wait()
    writer.transport.abort()
    line = await _next_line(account, "client_closed")
    assert (line.status, line.org, line.up_us) == (499, account.organization, None)
    gate = unique("gate")
    reader, writer = await asyncio.open_connection("127.0.0.1", account.admin.gateway.data_port)
    writer.write(request.replace("/gated/", "/stream/").encode())
    await reader.readuntil(b"first")
    writer.transport.abort()
    for _ in range(500):
        line = await _next_line(account, "client_closed")
        if line.status == 200:
            break
        await asyncio.sleep(0.01)
    assert line.status == 200


async def _next_line(account: Account, outcome: str) -> usage_line.UsageLine:
    for _ in range(500):
        lines = await _lines(account)
        if lines and lines[0].outcome == outcome:
            return lines[0]
        await asyncio.sleep(0.01)
    raise AssertionError(f"no {outcome} line")


async def test_what_has_no_route_and_what_is_no_request(account: Account) -> None:
    """A 404 and a 400 are answered in the API's shape, and have their lines."""
    path = unique("/nothing")
    async with account.session.get(f"{account.admin.gateway.data}{path}") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "route_not_found"
    _require_log(account)
    gateway = account.admin.gateway
    await gateway.written(account.session)
    line = next(line for line in reversed(gateway.lines()) if line["path"] == path)
    assert (line["path"], line["status"], line.get("route")) == (path, 404, None)
    answer = await raw_exchange(account.admin.gateway.data_port, b"NONSENSE\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "bad_request"
    await gateway.written(account.session)
    assert 400 in [line["status"] for line in gateway.lines()[-2:]]


async def test_odd_paths_and_agents_make_good_lines(account: Account) -> None:
    """Whatever bytes a client puts into path and agent, the line is JSON and within its bounds."""
    _require_log(account)
    before = len(account.admin.gateway.raw_lines())
    odd = [b"/caf\xc3\xa9", b"/\xff\xfe", b"/%00%0a%22", b'/"quoted"\\', b"/" + b"long" * 1500, b"/a?q=\xff"]
    for path in odd:
        request = b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nUser-Agent: %b\r\n\r\n"
        await raw_exchange(account.admin.gateway.data_port, request % (path, b"agent \xe9\xff" + b"x" * 900))
    await account.admin.gateway.written(account.session)
    raw = account.admin.gateway.raw_lines()[before:]
    lines = [usage_line.decode(line) for line in raw]
    assert len(lines) >= len(odd)
    assert all(len(line.path) <= 1024 and len(line.ua) <= 256 for line in lines)
    assert all("?" not in line.path for line in lines)


async def test_the_stream_has_no_gap(account: Account) -> None:
    """`seq` counts in the order of the file, each number once; from 1 where we saw the gateway start."""
    _require_log(account)
    gateway = account.admin.gateway
    await asyncio.gather(*(account.get() for _ in range(50)))
    await gateway.written(account.session)
    streams: dict[tuple[Any, ...], list[int]] = {}
    lines = [line for line in gateway.lines() if line["boot"]]
    for line in lines:
        streams.setdefault((line["node"], line["boot"], line["worker"]), []).append(line["seq"])
    for numbers in streams.values():
        first = numbers[0] if gateway.foreign else 1
        assert numbers == list(range(first, first + len(numbers)))
    assert gateway.foreign or len(streams) == 1
    assert len({line["rid"] for line in lines}) == len(lines)
