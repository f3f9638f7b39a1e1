"""What callers get wrong: each gets the right status and a text that names the field, and nothing is lost."""

import pytest
from tests.support.api_client import PASSWORD, Api

from farebox.fields import NAME_LENGTH


def registration(**changes: object) -> dict[str, object]:
    """A body that would be accepted, changed."""
    body = {"email": "ada@example.com", "password": PASSWORD, "organization_name": "Engines"}
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    "text", [b"{", b"", b'{"email": }', b"\xff\xfe", b'{"email": "\\ud800"}', b"[" * 5000]
)
async def test_malformed_json_is_400(api: Api, text: bytes) -> None:
    """A body that is no JSON is refused as such; nothing of it comes back."""
    reply = await api.call("POST", "/auth/register", raw=text)
    assert (reply.status, reply.code) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("body", "field", "remedy"),
    [
        (registration(organization_name=None), "organization_name", "is required; add it"),
        (registration(colour="red"), "colour", "is not known; remove it"),
        (registration(email="ada"), "email", "must be an e-mail address"),
        (registration(email=7), "email", "must be text"),
        (registration(organization_name="a\x00b"), "organization_name", "control"),
        (registration(organization_name="a\x1bb"), "organization_name", "control"),
        (registration(organization_name="abc\u202ecba"), "organization_name", "control or direction"),
        (registration(organization_name="   "), "organization_name", "at least 1"),
        (registration(organization_name="x" * 81), "organization_name", "at most 80"),
        (registration(time_zone="Europe/Atlantis"), "time_zone", "IANA"),
        (registration(password="short"), "password", "at least 8"),
        (registration(password="Password1"), "password", "leaked"),
        (registration(password="ada@example.com"), "password", "name or e-mail"),
        (registration(password="aaaaaaaaaaaa"), "password", "repeats"),
        ([1, 2], "(body)", "must be an object"),
    ],
)
async def test_a_wrong_field_is_named_with_its_remedy(
    api: Api, body: object, field: str, remedy: str
) -> None:
    """422 names the field and what to do, and never repeats the value."""
    reply = await api.post("/auth/register", body)
    assert reply.status == 422
    assert remedy in reply.fields[field]
    assert "Password1" not in str(reply.body)


async def test_a_refused_registration_leaves_nothing_behind(api: Api) -> None:
    """After any refusal the same e-mail can register."""
    assert (await api.post("/auth/register", registration(time_zone="Nowhere/Land"))).status == 422
    assert (await api.post("/auth/register", registration())).status == 201


async def test_a_body_that_is_no_json_by_its_type_is_415(api: Api) -> None:
    """A form is not guessed at."""
    reply = await api.call(
        "POST", "/auth/login", raw=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


async def test_a_body_of_10_mb_is_413(api: Api) -> None:
    """A large body is refused by its declared length; the answer arrives."""
    reply = await api.call("POST", "/auth/register", raw=b"x" * 10_000_000)
    assert (reply.status, reply.code) == (413, "body_too_large")


async def test_unicode_names_are_kept_in_one_form(api: Api) -> None:
    """A name keeps its letters, composed (NFC) and trimmed, whatever keyboard wrote it."""
    decomposed = "  Cafe\u0301 Zu\u0308rich 株式会社 👩\u200d🚀 "
    await api.post("/auth/register", registration(organization_name=decomposed))
    token = (await api.post("/auth/login", {"email": "ADA@example.com", "password": PASSWORD})).data
    assert token["organization"]["name"] == "Caf\u00e9 Z\u00fcrich 株式会社 👩\u200d🚀"


async def test_a_taken_email_is_said_and_harms_nobody(api: Api) -> None:
    """The second sign-up is told that the e-mail is taken; the account is as it was."""
    await api.sign_up()
    other = registration(email="ADA@Example.COM", password="another long password", organization_name="Other")
    reply = await api.post("/auth/register", other)
    assert (reply.status, reply.code) == (409, "email_taken")
    login = await api.post("/auth/login", {"email": "ada@example.com", "password": PASSWORD})
    assert login.data["organization"]["name"] == "Engines"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/keys?limit=0", "limit"),
        ("/keys?limit=ten", "limit"),
        ("/keys?limit=5&limit=6", "limit"),
        ("/keys?sort=digest", "sort"),
        ("/keys?colour=red", "colour"),
        ("/billing/usage?start=yesterday", "start"),
        ("/billing/usage?start=2026-03-01T00:00:00", "start"),
        ("/billing/usage?start=2026-03-02T00:00:00Z&end=2026-03-01T00:00:00Z", "end"),
        ("/billing/usage?start=2020-01-01T00:00:00Z", "start"),
        ("/billing/usage?key=nonsense", "key"),
        ("/billing/usage?start=0001-01-01T00:00:00%2B14:00", "start"),
    ],
)
async def test_a_wrong_parameter_is_named(api: Api, path: str, field: str) -> None:
    """Query parameters are held to their models like bodies."""
    ada = await api.sign_up()
    reply = await api.get(path, by=ada)
    assert reply.status == 422
    assert field in reply.fields


@pytest.mark.parametrize("cursor", ["nonsense", "W10", "eyJhIjoxfQ", "%00", "bnVsbA"])
async def test_a_cursor_of_nobody_is_refused(api: Api, cursor: str) -> None:
    """A made-up cursor is an error of the caller's, not of ours."""
    ada = await api.sign_up()
    assert (await api.get(f"/keys?cursor={cursor}", by=ada)).status == 422


async def test_unknown_paths_and_methods_have_our_shape(api: Api) -> None:
    """404 and 405 are answered like everything else, 405 with the methods that exist."""
    assert (await api.get("/nothing/here")).code == "not_found"
    reply = await api.call("PUT", "/keys")
    assert (reply.status, reply.code, reply.headers["Allow"]) == (
        405,
        "method_not_allowed",
        "GET, HEAD, POST",
    )


async def test_problem_json_is_given_to_whoever_asks(api: Api) -> None:
    """The same refusal as RFC 9457, its type leading to the page of error codes."""
    reply = await api.call("GET", "/auth/me", headers={"Accept": "application/problem+json"})
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert (reply.status, reply.body["status"], reply.body["code"]) == (401, 401, "unauthenticated")
    assert reply.body["type"].endswith("/api/docs/errors#unauthenticated")
    assert reply.body["request_id"] == reply.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer " + "x" * 5000]
)
async def test_a_bad_token_is_401(api: Api, header: str) -> None:
    """Nothing but a token that we signed is let in, and the answer says how to get one."""
    reply = await api.call("GET", "/auth/me", headers={"Authorization": header})
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "metadata", [{"a b": "x"}, {"a": 1}, {"a": "x" * 501}, {str(n): "" for n in range(51)}, {"a": "\x00"}]
)
async def test_metadata_has_bounds(api: Api, metadata: dict[str, object]) -> None:
    """Up to 50 short texts of one's own; nothing that the database could not hold."""
    ada = await api.sign_up()
    body = {"name": "one", "environment": "test", "metadata": metadata}
    assert (await api.post("/keys", body, by=ada)).status == 422


async def test_every_answer_carries_the_security_headers(api: Api) -> None:
    """No answer may be sniffed, framed, cached or used to load anything; no server version is told."""
    reply = await api.get("/plans")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Server"] == "farebox"


def test_the_bound_of_names_is_the_documented_one() -> None:
    """docs/api.md says 80 characters."""
    assert NAME_LENGTH == 80
