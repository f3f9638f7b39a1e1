"""The letters that there are, and how one is made in its reader's language. Knows no SMTP and no database.

A letter is a file `letters/<language>/<name>.txt`, its first line the subject; docs/mails.md shows them all.
What a letter needs stands in `LETTERS`; values are plain JSON: `{"currency", "minor"}`, RFC 3339.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from farebox.money import Money
from farebox.notifications import markup

LANGUAGES: Final = ("en", "de", "fr", "es")
DEFAULT_LANGUAGE: Final = "en"
LETTERS: Final[Mapping[str, frozenset[str]]] = {
    "verify_email": frozenset({"name", "token"}),
    "welcome": frozenset({"name"}),
    "trial_ending": frozenset({"name", "organization", "plan", "ends_at"}),
    "invoice": frozenset(
        {"name", "organization", "issuer", "number", "period_start", "period_end", "total", "open", "due_at"}
        | {"collection", "invoice_url"}
    ),
    "receipt": frozenset({"name", "organization", "amount", "paid_at", "number", "method", "reference"}),
    "payment_failed": frozenset(
        {"name", "organization", "amount", "reason", "number", "next_attempt_at", "pay_url"}
    ),
    "overdue": frozenset({"name", "organization", "number", "open", "due_at", "suspends_at", "pay_url"}),
    "suspended": frozenset({"name", "organization", "number", "open", "pay_url"}),
    "reinstated": frozenset({"name", "organization"}),
    "cancelled": frozenset({"name", "organization", "plan", "ends_at"}),
    "key_created": frozenset(
        {"name", "organization", "key_name", "hint", "environment", "creator", "created_at"}
    ),
    "key_leaked": frozenset({"name", "organization", "key_name", "hint", "source", "revoked_at"}),
    "usage_threshold": frozenset({"name", "organization", "threshold", "period_start", "used", "of"}),
}
"""Each letter with the values that its job gives it; `public_url` and `product` are given to all."""
_FOLDER: Final = Path(__file__).parent / "letters"
_PAGE: Final = """<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{subject}</title></head>
<body style="margin:0;padding:24px;background:#f4f5f7;color:#1c2330;\
font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif">
<div style="max-width:560px;margin:0 auto;padding:32px;background:#ffffff;border-radius:8px">
<p style="margin:0 0 24px;font-weight:600;color:#0b6b53">{product}</p>
{body}
</div>
</body>
</html>
"""


class UnknownTemplateError(LookupError):
    """No letter has this name."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as text and as HTML. `repr` shows neither: it may hold a token."""

    subject: str
    text: str
    html: str

    def __repr__(self) -> str:
        """Show the subject alone."""
        return f"Letter({self.subject!r})"


def language_for(wanted: str | None) -> str:
    """Return the language of ours that a BCP 47 tag asks for: `de-AT` is `de`, unknown ones are English."""
    primary = (wanted or "").partition("-")[0].lower()
    return primary if primary in LANGUAGES else DEFAULT_LANGUAGE


def render(name: str, values: Mapping[str, Any], *, language: str | None = None) -> Letter:
    """Make a letter. Raises `UnknownTemplateError`, and `jinja2.UndefinedError` if a value is missing."""
    if name not in LETTERS:
        raise UnknownTemplateError(f"there is no mail {name!r}; there are: {', '.join(LETTERS)}")
    spoken = language_for(language)
    told = {key: _one_line(value) for key, value in values.items()}
    written = _environment(spoken).get_template(f"{name}.txt").render(told)
    subject, _, body = written.partition("\n")
    subject = subject.strip()
    page = _PAGE.format(
        language=spoken,
        subject=escape(subject),
        product=escape(str(told.get("product", "Farebox"))),
        body=markup.as_html(body),
    )
    return Letter(subject, markup.as_text(body), page)


@lru_cache(maxsize=len(LANGUAGES))
def _environment(language: str) -> Environment:
    locale = Locale.parse(language)
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / language),
        autoescape=False,  # noqa: S701 - it makes text; markup.as_html escapes all of it
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quote"] = lambda text: quote(text, safe="")
    environment.filters["money"] = lambda amount: _money(amount, locale)
    environment.filters["day"] = lambda moment: format_date(_instant(moment), "long", locale=locale)
    environment.filters["moment"] = lambda moment: (
        format_datetime(_instant(moment), "d MMMM y, HH:mm", locale=locale) + " UTC"
    )
    return environment


def _money(amount: Mapping[str, Any], locale: Locale) -> str:
    money = Money(amount["currency"], amount["minor"])
    return format_currency(money.decimal, money.currency, locale=locale)


def _instant(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def _one_line(value: Any) -> Any:
    """A name with a line break could bring a mark of its own into the letter."""
    return " ".join(value.split()) if isinstance(value, str) else value
