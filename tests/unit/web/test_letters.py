"""Letters: complete in every language, the same in text and HTML, and nothing in them can break out."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.notifications import markup
from farebox.notifications.letters import LANGUAGES, LETTERS, UnknownTemplateError, language_for, render

USD = {"currency": "USD", "minor": 6000}
NONE = {"currency": "USD", "minor": 0}
EXAMPLE: dict[str, Any] = {
    "product": "Farebox", "public_url": "https://api.example.com", "name": "Ada", "token": "t0k3n",
    "organization": "Engines Ltd", "plan": "Starter", "ends_at": "2026-04-01T00:00:00+00:00",
    "issuer": "Example Inc.", "number": "FB-000042", "period_start": "2026-03-01T00:00:00+00:00",
    "period_end": "2026-04-01T00:00:00+00:00", "total": USD, "open": USD,
    "due_at": "2026-04-15T00:00:00+00:00", "collection": "automatic", "amount": USD,
    "invoice_url": "https://api.example.com/invoices/x", "paid_at": "2026-04-02T09:00:00+00:00",
    "method": "visa …4242", "reference": "ch_1", "reason": "Your card was declined.",
    "next_attempt_at": "2026-04-05T00:00:00+00:00", "pay_url": "https://api.example.com/invoices/x",
    "suspends_at": "2026-04-29T00:00:00+00:00", "key_name": "ci", "hint": "x7Qz", "environment": "live",
    "creator": "ada@example.com", "created_at": "2026-03-10T12:00:00+00:00",
    "source": "https://example.com/gist/1", "revoked_at": "2026-03-10T12:05:00+00:00", "threshold": "80 %",
    "used": "8,000", "of": "10,000",
}  # fmt: skip
EACH = pytest.mark.parametrize("name", LETTERS)
IN_EACH_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)


class Words(HTMLParser):
    """The text of a page, and the names of its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for key, value in attrs if key == "href" and value]

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def values(name: str, **more: Any) -> dict[str, Any]:
    """What a letter is given, and nothing more."""
    wanted = LETTERS[name] | {"product", "public_url"}
    return {key: value for key, value in (EXAMPLE | more).items() if key in wanted}


@EACH
@IN_EACH_LANGUAGE
def test_a_letter_says_the_same_in_text_and_html(name: str, language: str) -> None:
    """It needs exactly the values that are declared; every word of the text stands in the HTML."""
    letter = render(name, values(name), language=language)
    assert letter.subject
    assert "{" not in letter.subject + letter.text
    page = Words(letter.html)
    for word in re.sub(r"https?://\S+", "", letter.text).replace(":", " ").split():
        assert any(word in other for other in page.words), word
    # What a stranger wrote is shown, and no link.
    links = [link for link in re.findall(r"https?://\S+", letter.text) if link != EXAMPLE["source"]]
    assert all(link in page.links for link in links if "api/v1" not in link)
    assert f'<html lang="{language}">' in letter.html


@EACH
@IN_EACH_LANGUAGE
def test_what_may_be_absent_may_be_absent(name: str, language: str) -> None:
    """A letter without the optional values is whole: no `None`, no empty row, no blank line twice."""
    nothing = dict.fromkeys(("number", "method", "next_attempt_at", "suspends_at", "source"))
    absent = {key: value for key, value in nothing.items() if not (key == "number" and name != "receipt")}
    if name == "invoice":
        absent |= {"due_at": None, "open": NONE, "number": "FB-1"}
    letter = render(name, values(name, **absent), language=language)
    assert "None" not in letter.subject + letter.text
    assert "\n\n\n" not in letter.text


@IN_EACH_LANGUAGE
def test_every_language_has_every_letter_and_its_own_words(language: str) -> None:
    """No letter is English by oversight."""
    for name in LETTERS:
        own, english = (render(name, values(name), language=each).text for each in (language, "en"))
        assert (own == english) == (language == "en")


@pytest.mark.parametrize(
    ("wanted", "given"),
    [("de-AT", "de"), ("FR", "fr"), ("es-419", "es"), ("ja", "en"), ("", "en"), (None, "en"), ("den", "en")],
)
def test_a_reader_is_written_to_in_a_language_we_have(wanted: str | None, given: str) -> None:
    """By the primary part of the tag; English where we have none."""
    assert language_for(wanted) == given


def test_amounts_and_days_are_written_as_the_reader_writes_them() -> None:
    """60.00 dollars and the 15th of April, by the Unicode CLDR."""
    shown = {language: render("invoice", values("invoice"), language=language).text for language in LANGUAGES}
    assert "$60.00" in shown["en"]
    assert "60,00\u00a0$" in shown["de"]
    assert "April 15, 2026" in shown["en"]
    assert "15. April 2026" in shown["de"]
    yen = render("invoice", values("invoice", total={"currency": "JPY", "minor": 500}))
    assert "¥500" in yen.text


def test_an_unknown_letter_is_an_error() -> None:
    """A job with a wrong name fails and is seen, instead of sending nothing."""
    with pytest.raises(UnknownTemplateError, match="invoice"):
        render("receit", {})


HOSTILE = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


@given(HOSTILE)
def test_no_name_becomes_markup(text: str) -> None:
    """Whatever an organization is called: no tag, no button and no row of its own."""
    tame = Words(render("invoice", values("invoice")).html)
    name = f"<b>{text}</b>\n=> Pay: https://evil.example/"
    hostile = Words(render("invoice", values("invoice", organization=name)).html)
    assert hostile.tags == tame.tags
    assert (
        len([link for link in hostile.links if "evil" in link]) <= 1
    )  # a link as text is a link, never a button


def test_a_table_lines_up_and_a_button_is_a_link() -> None:
    """The three marks, in both forms."""
    source = "Hello & <you>,\n\n| A | 1 |\n| Long | 2 |\n\n=> Pay now: https://x.example/?a=1&b=2"
    assert (
        markup.as_text(source)
        == "Hello & <you>,\n\nA:     1\nLong:  2\n\nPay now:\nhttps://x.example/?a=1&b=2\n"
    )
    html = markup.as_html(source)
    assert "Hello &amp; &lt;you&gt;," in html
    assert 'href="https://x.example/?a=1&amp;b=2"' in html
    assert html.count("<tr>") == 2


def test_the_docs_show_each_letter_as_it_is() -> None:
    """docs/mails.md is what is sent: the English text of every letter, made from these values."""
    page = (Path(__file__).parents[3] / "docs" / "mails.md").read_text()
    shown = re.findall(r"^### `(\w+)`: (.*?)$.*?^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    made = {name: render(name, values(name)) for name in LETTERS}
    assert shown == [(name, letter.subject, letter.text) for name, letter in made.items()]
