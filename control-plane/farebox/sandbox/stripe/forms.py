"""Form-encoded bodies with nested keys (`card[number]`, `items[0][price]`, `expand[]`) as Stripe reads
them. Pure.
"""

import re
from typing import Any, Final
from urllib.parse import parse_qsl

from farebox.sandbox.stripe.errors import Refusal

_KEY: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
MAX_FIELDS: Final = 2000


def parse(text: str) -> dict[str, Any]:
    """Nested dicts whose leaves are text; a list is a dict with the keys "0", "1", …

    Raises Refusal for a key that is no key, and for one that is both a value and a nest.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise Refusal(400, "Invalid request: the body is not form-encoded UTF-8.") from error
    root: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            raise Refusal(400, f"Invalid request: {key!r} is no parameter name.")
        names = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        place = root
        for name in names[:-1]:
            inner = place.setdefault(name or str(len(place)), {})
            if not isinstance(inner, dict):
                raise Refusal(400, f"Invalid {match[1]}: it is both a value and a hash.", param=match[1])
            place = inner
        last = names[-1] or str(len(place))
        if isinstance(place.get(last), dict):
            raise Refusal(400, f"Invalid {match[1]}: it is both a value and a hash.", param=match[1])
        place[last] = value
    return root
