"""Keys that were issued elsewhere and imported by their SHA-256: their text names nobody.

Such a key's credential stands under one consumer, `imported`, with the digest as its id, so that it is
looked up directly too; `organization` and `key` in its configuration say whose it is. A text of our own
grammar, its check right or wrong, never goes this way: it names its owner by itself.
"""

import re
from typing import Final

from farebox_contract import keys

CONSUMER: Final = "imported"
"""No organization can have this name: theirs have 10 characters."""
MIN_LENGTH: Final = 16
MAX_LENGTH: Final = keys.MAX_LENGTH
_TEXT: Final = re.compile(rf"[!-~]{{{MIN_LENGTH},{MAX_LENGTH}}}", re.ASCII)


def importable(text: str) -> bool:
    """Return whether a text may be an imported key: 16 to 128 printable ASCII characters without a space.

    Not if it has the form of a key of ours, whatever its prefix and its check.
    """
    return _TEXT.fullmatch(text) is not None and not keys.has_our_form(text)
