"""Instants in the gateway's unit: whole milliseconds since the Unix epoch. Pure."""

from datetime import datetime


def milliseconds(instant: datetime) -> int:
    """Return Unix milliseconds, rounded down, without going through a float."""
    seconds = int(instant.replace(microsecond=0).timestamp())
    return seconds * 1000 + instant.microsecond // 1000
