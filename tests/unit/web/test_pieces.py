"""Small rules of the edge: cursors, the local limiter, states of keys, the refusal's two forms."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farebox import problems
from farebox.keys.service import KeyState, state_of
from farebox.keys.views import _SORTING, KeysQuery
from farebox.pagination import PageQuery, cut
from farebox.problems import Refusal, as_envelope, as_problem_json, wants_problem_json
from farebox.rate_limits import WINDOW, LocalWindow

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a list."""

    id: UUID
    name: str


@given(name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80))
def test_a_cursor_survives_the_trip(name: str) -> None:
    """Whatever the name of the last row, its place is read back exactly."""
    rows = [Row(uuid4(), name), Row(uuid4(), "z")]
    page, cursor = cut(rows, PageQuery(limit=1), sort="name", place=lambda row: (row.name, row.id))
    assert list(page) == rows[:1]
    values = _SORTING.parameters(KeysQuery(limit=1, cursor=cursor, sort="name"), "name")
    assert (values["place_value"], values["place_id"], values["page_rows"]) == (name, rows[0].id, 2)


MADE_UP = st.one_of(
    st.text(max_size=60),
    st.lists(st.none() | st.integers() | st.text(max_size=8), max_size=4).map(
        lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()[:512]
    ),
)


@given(cursor=MADE_UP)
@example(cursor=base64.urlsafe_b64encode(b'["-created_at","0001-01-01T00:00+23:00","0"]').decode())
@example(cursor=base64.urlsafe_b64encode(b"[" * 300).decode())
def test_any_other_text_is_no_cursor(cursor: str) -> None:
    """Made-up cursors are refused, and never an error of ours."""
    with pytest.raises(Refusal):
        _SORTING.parameters(PageQuery(cursor=cursor), "-created_at")


def test_the_local_limiter_counts_by_the_minute() -> None:
    """So many a minute for each caller; a refusal is not counted; a new minute begins anew."""
    window = LocalWindow()
    decisions = [window.take("a", 2, 30.0).allowed for _ in range(4)]
    assert decisions == [True, True, False, False]
    assert window.take("b", 2, 30.0).remaining == 1
    assert window.take("a", 2, 30.0 + WINDOW).allowed
    assert window.take("a", 2, 119.5).resets_in == 1


@pytest.mark.parametrize(
    ("stored", "revision", "expires_at", "expected"),
    [
        ("active", 5, None, KeyState.ENFORCED),
        ("active", 6, None, KeyState.PENDING),
        ("active", 5, NOW, KeyState.EXPIRED),
        ("active", 5, NOW + timedelta(seconds=1), KeyState.ENFORCED),
        ("revoked", 6, None, KeyState.REVOKING),
        ("revoked", 5, NOW, KeyState.REVOKED),
    ],
)
def test_the_state_of_a_key(
    stored: str, revision: int, expires_at: datetime | None, expected: KeyState
) -> None:
    """What was decided, and whether revision 5, which the gateways have, holds it."""
    assert state_of(stored, revision, expires_at, enforced=5, now=NOW) is expected


def test_a_refusal_keeps_what_is_for_us() -> None:
    """The log's text is in neither form of the answer."""
    refusal = Refusal(problems.NOT_FOUND, log="belongs to org_eve", details={"a": 1})
    envelope = as_envelope(refusal, request_id="r1")
    problem = as_problem_json(refusal, request_id="r1", instance="/x", documentation="http://d")
    assert "eve" not in json.dumps([envelope, problem])
    assert envelope["error"]["details"] == problem["details"] == {"a": 1}


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [("", False), ("*/*", False), ("application/json", False), ("application/problem+json", True),
     ("text/html, Application/Problem+JSON;q=0.9", True)],
)  # fmt: skip
def test_who_wants_problem_json(accept: str, wanted: bool) -> None:
    """Only who names it gets it."""
    assert wants_problem_json(accept) is wanted
