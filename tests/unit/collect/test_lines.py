"""Both ways of reading a chunk say the same of every line, whatever the bytes."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farebox_contract import usage_line
from farebox_contract.usage_line import OUTCOMES, UsageLine
from farebox_worker.collect.lines import SCHEMA, decode_chunk, decode_line_by_line

PLAIN: dict[str, Any] = {
    "v": 1, "ts": 1_795_219_218_123, "node": "gw-1", "boot": "m2x9k4", "worker": 0, "seq": 42,
    "rid": "a467bc9c7d641e34712653be650b1919", "env": "live", "org": "4f7q2kabcd", "key": "9tz3m1abcd",
    "sub": "x81kabcdef", "group": "starter-1", "route": "messages", "method": "POST",
    "path": "/v1/messages/send", "status": 200, "outcome": "served", "units": 1, "in": 192, "out": 793,
    "us": 1530, "up_us": 1010, "ip": "203.0.113.7", "ua": "curl/8",
}  # fmt: skip

texts = (
    st.text(max_size=40)
    | st.text('ab\0\\"\n/é\ud7ff', max_size=8)
    | st.sampled_from(["", "1", "true", "[1]"])
)
wholes = (
    st.integers(0, 2**62) | st.integers(0, 1000) | st.sampled_from([9, 10, 99, 100, 999, 10**12, 10**12 - 1])
)
strange = (
    st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | texts
    | st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)  # fmt: skip


@st.composite
def good_lines(draw: st.DrawFn) -> bytes:
    """A line as an edge writes it, with the members it may leave out left out at times."""
    has_stream = draw(st.booleans())
    known = draw(st.booleans())
    line = UsageLine(
        v=1,
        ts=draw(st.integers(0, 253_402_300_799_999)),
        node=draw(st.sampled_from(["gw-1", "gw-2", "nœud"])),
        boot="m2x9k4" if has_stream else "",
        worker=draw(st.integers(0, 12)),
        seq=draw(st.integers(1, 2**62)) if has_stream else 0,
        rid=draw(st.sampled_from(["a467bc9c7d641e34712653be650b1919", "1", "1e9", "true"])),
        env="live" if known else None,
        org="4f7q2kabcd" if known else None,
        key="9tz3m1abcd" if known else None,
        route=draw(st.none() | st.just("messages")),
        method=draw(st.sampled_from(["GET", "", "PROPFIND"])),
        path=draw(st.sampled_from(["/v1/messages", "", '/ä"\\'])),
        status=draw(st.integers(0, 999)),
        outcome=draw(st.sampled_from(OUTCOMES)),
        units=draw(st.integers(0, 10**12)),
        in_=draw(wholes),
        out=draw(wholes),
        us=draw(wholes),
        up_us=draw(st.none() | wholes),
        ip=draw(st.sampled_from(["203.0.113.7", "2001:db8::1", ""])),
        ua=draw(st.sampled_from(["curl/8", "", "12", "null", 'say "x"'])),
    )
    return usage_line.encode(line).rstrip(b"\n")


@st.composite
def doubtful_lines(draw: st.DrawFn) -> bytes:
    """A line with one thing changed: a wrong type, missing, doubled, unknown, spaced or escaped."""
    members = dict(PLAIN)
    name = draw(st.sampled_from(sorted(members)))
    way = draw(st.sampled_from(["value", "missing", "doubled", "unknown", "spaced", "escaped", "renamed"]))
    if way == "value":
        members[name] = draw(strange)
    elif way == "missing":
        del members[name]
    elif way == "unknown":
        members[draw(st.text(max_size=5))] = draw(strange)
    elif way == "renamed":
        members["".join(reversed(name))] = members.pop(name)
    text = json.dumps(
        members, separators=(", ", ": ") if way == "spaced" else (",", ":"), ensure_ascii=way == "escaped"
    )
    if way == "doubled":
        text = text[:-1] + f',"{name}":{json.dumps(draw(strange))}}}'
    return text.encode("utf-8", "surrogatepass").replace(b"\n", b"")


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """A good line with some bytes lost, changed or put in."""
    line = bytearray(draw(good_lines()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line) - 1))
        line[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(line).replace(b"\n", b"")


garbage = st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")) | st.sampled_from(
    [b"", b" ", b"\r", b"{}", b"null", b"[]", b"7", b"{", b"\xef\xbb\xbf{}", b'{"v":1}{"v":1}', b"x" * 20_000]
)
LONG = json.dumps({**PLAIN, "more": "x" * 17_000}, separators=(",", ":")).encode()


@settings(max_examples=400, deadline=None)
@given(st.lists(good_lines() | doubtful_lines() | damaged_lines() | garbage, min_size=1, max_size=12))
@example([LONG])
@example([json.dumps({**PLAIN, "rid": 10**31}, separators=(",", ":")).encode()])
def test_both_paths_give_equal_results_for_any_mix_of_lines(lines: list[bytes]) -> None:
    """Counted values, quarantined places and reasons are the same, and no line is lost or made up."""
    chunk = b"".join(line + b"\n" for line in lines)
    fast, slow = decode_chunk(chunk), decode_line_by_line(chunk)
    assert fast.lines == slow.lines == len(lines)
    assert fast.bad == slow.bad or list(fast.bad) == list(slow.bad)
    assert fast.frame.equals(slow.frame)
    assert fast.frame.schema == slow.frame.schema
    assert fast.frame.height + len(fast.bad) == len(lines)
    for line in fast.bad:
        assert chunk[line.start : line.start + line.length] == lines[line.line]


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, lambda _: b"\x28\xb5\x2f\xfd"])
def test_bytes_that_look_like_a_compressed_file_are_lines_like_any_other(
    compress: Callable[[bytes], bytes],
) -> None:
    """Nothing inside is read as usage: the bytes are no lines, and a good line behind them still counts."""
    hidden = compress(json.dumps(PLAIN).encode() + b"\n").replace(b"\n", b" ")
    chunk = hidden + b"\n" + json.dumps(PLAIN).encode() + b"\n"
    decoded = decode_chunk(chunk)
    assert (decoded.lines, decoded.frame.height, len(decoded.bad)) == (2, 1, 1)


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_a_member_of_the_wrong_type_is_refused_on_both_paths(name: str) -> None:
    """A number where text belongs, text where a number belongs, and their like never pass as the other."""
    values: tuple[Any, ...] = (7, 7.0, 7.5, 1e31, -1, True, "7", "", None, [], {}, "x" * 3000)
    for wrong in values:
        members = {**PLAIN, name: wrong}
        chunk = json.dumps(members, separators=(",", ":")).encode() + b"\n"
        good = json.dumps(PLAIN, separators=(",", ":")).encode() + b"\n"
        fast, slow = decode_chunk(good + chunk), decode_line_by_line(good + chunk)
        assert list(fast.bad) == list(slow.bad), wrong
        assert fast.frame.equals(slow.frame), wrong


@settings(max_examples=200, deadline=None)
@given(st.lists(good_lines(), min_size=1, max_size=8))
def test_what_is_read_is_what_was_written(lines: list[bytes]) -> None:
    """Each column holds the line's own value; nothing is rounded, cut or replaced."""
    frame = decode_chunk(b"".join(line + b"\n" for line in lines)).frame
    for line, row in zip(lines, frame.iter_rows(named=True), strict=True):
        said = msgspec.json.decode(line)
        assert {name: row[name] for name in SCHEMA if name != "line"} == {
            name: said.get(name) for name in SCHEMA if name != "line"
        }


def test_lines_as_the_edge_writes_them_need_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of ordinary lines, refusals among them, is proven in columns: `decode` is not called at all."""
    refused = {
        name: PLAIN[name] for name in PLAIN if name not in {"env", "org", "key", "sub", "group", "up_us"}
    }
    lines = [PLAIN, {**refused, "seq": 43, "status": 401, "outcome": "unauthorized"}, {**PLAIN, "seq": 44}]
    chunk = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)

    def forbidden(_line: bytes) -> UsageLine:
        raise AssertionError("a line was not proven")

    monkeypatch.setattr(usage_line, "decode", forbidden)
    assert decode_chunk(chunk).frame.height == 3
