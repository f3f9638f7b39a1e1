"""A finding: one thing that was looked at."""

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """`unknown` is for what could not be looked at; it is not counted as wrong, its cause is."""

    GOOD = "good"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` is what is, `remedy` what to do about it; the remedy of a good finding is empty."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def good(what: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(what, Verdict.GOOD, found)


def wrong(what: str, found: str, remedy: str) -> Finding:
    """Something is to be done."""
    return Finding(what, Verdict.WRONG, found, remedy)


def unknown(what: str, why: str) -> Finding:
    """It could not be looked at."""
    return Finding(what, Verdict.UNKNOWN, why)


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
