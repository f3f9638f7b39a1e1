"""The form in which an invoice and its proof leave the house, and the digest that ties the two together.

`farebox verify` reads this document and the raw log lines, and nothing else; docs/proof.md describes it.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

FORMAT: Final = "farebox-invoice"
VERSION: Final = 1


def canonical(document: Any) -> bytes:
    """Write plain JSON (texts, whole numbers, booleans, null) in the one form that digests are taken of.

    Members sorted by name, no white space, characters as UTF-8: RFC 8785 for documents without fractions.
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(document: Any) -> bytes:
    """Return the SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(document)).digest()


def instant(moment: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, to the microsecond where it has any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
