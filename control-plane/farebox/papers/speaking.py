"""A language with its numbers, amounts and dates. Pure; the forms are those of Unicode CLDR."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.lists import format_list
from babel.numbers import format_currency, format_decimal

from farebox.money import MINOR_DIGITS, Money
from farebox.notifications.letters import language_for
from farebox.papers.wording import WORDS, Words

_MIDNIGHT = time(0)


@dataclass(frozen=True, slots=True)
class Speech:
    """How a paper speaks: its language, words, currency and time zone."""

    language: str
    words: Words
    locale: Locale
    currency: str
    zone: ZoneInfo

    def amount(self, minor: int) -> str:
        """Write an amount with its currency and all its digits."""
        return str(format_currency(Money(self.currency, minor).decimal, self.currency, locale=self.locale))

    def price(self, exact: str) -> str:
        """Write an exact amount without its currency: every digit that it has, the currency's at least."""
        value = Decimal(exact)
        digits = max(MINOR_DIGITS[self.currency], -int(value.as_tuple().exponent))
        pattern = f"#,##0.{'0' * digits}" if digits else "#,##0"
        return str(format_decimal(value, pattern, locale=self.locale))

    def number(self, value: str | int | Decimal) -> str:
        """Write a number with every digit that it has."""
        return str(
            format_decimal(
                Decimal(value), "#,##0.############", locale=self.locale, decimal_quantization=False
            )
        )

    def share(self, fraction: str) -> str:
        """Write a share as a percentage, for the eye."""
        return f"{format_decimal(round(float(Fraction(fraction)) * 100, 2), locale=self.locale)} %"

    def country(self, code: str | None) -> str | None:
        """Write a country's name (ISO 3166-1 alpha-2)."""
        return None if code is None else str(self.locale.territories.get(code, code))

    def listed(self, texts: list[str]) -> str:
        """Write a list as a sentence has it."""
        return str(format_list(texts, locale=self.locale))

    def day(self, moment: datetime) -> str:
        """Write the day of an instant."""
        return str(format_date(moment.astimezone(self.zone), "long", locale=self.locale))

    def minute(self, moment: datetime) -> str:
        """Write an instant to the minute, with its zone."""
        local = moment.astimezone(self.zone)
        return f"{format_datetime(local, 'medium', locale=self.locale)} {local.tzname()}"

    def stretch(self, start: datetime, end: datetime) -> str:
        """Write a period: by its days if it begins and ends at midnight, else to the minute."""
        first, last = start.astimezone(self.zone), end.astimezone(self.zone)
        if first.time() == _MIDNIGHT == last.time() and first < last:
            return f"{self.day(start)} \N{EN DASH} {self.day(last - timedelta(microseconds=1))}"
        return f"{self.minute(start)} \N{EN DASH} {self.minute(end)}"


def speech(tag: str | None, currency: str, zone: str) -> Speech:
    """Return how a paper speaks to a reader of this language (BCP 47); others are spoken to in English."""
    language = language_for(tag)
    return Speech(language, WORDS[language], Locale.parse(language), currency, ZoneInfo(zone))


def instant(text: Any) -> datetime:
    """Read an instant as exports have it."""
    return datetime.fromisoformat(str(text))
