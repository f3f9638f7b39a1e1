"""Paths as nginx reads them, and which of several routes wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox_gateway.edge.router import normalize


@pytest.mark.parametrize(
    ("raw", "matched"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a%2Fb", "/a/b"),
        ("/a//b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../etc", "/etc"),
        ("/a/..", "/"),
        ("/a/", "/a/"),
        ("/a/b/..", "/a/"),
        ("/%2e%2e/x", "/x"),
        ("/caf%C3%A9", "/café"),
    ],
)
def test_normal_form(raw: str, matched: str) -> None:
    """Encoded, doubled and dotted paths match as what they mean."""
    assert normalize(raw) == matched


@given(st.text(alphabet="/.%abc2eEfF", max_size=40))
def test_no_path_leaves_the_root(text: str) -> None:
    """Whatever is sent, the matched path begins with one slash and holds no dot segment."""
    matched = normalize("/" + text)
    assert matched.startswith("/")
    assert ".." not in matched.split("/")
    assert "//" not in matched
