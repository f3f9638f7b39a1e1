"""`expand[]`: ids become objects on request. https://docs.stripe.com/api/expanding_objects.

What an id names follows from its prefix. A few properties exist only when they are asked for.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import KINDS, Call
from farebox.sandbox.stripe.errors import Refusal

MAX_DEPTH: Final = 4
Virtual = Callable[[Call, Obj], Any]


def expanded(call: Call, body: Obj, virtual: Mapping[tuple[str, str], Virtual]) -> Obj:
    """The answer with what `expand` asks for. Refusal where a property is no object."""
    for path in call.params.get("expand", []):
        steps = path.split(".")
        if len(steps) > MAX_DEPTH:
            raise Refusal(400, f"You cannot expand more than {MAX_DEPTH} levels: {path}", param="expand")
        _expand(call, body, steps, path, virtual)
    return body


def _expand(
    call: Call, body: Any, steps: list[str], path: str, virtual: Mapping[tuple[str, str], Virtual]
) -> None:
    if isinstance(body, list):
        for item in body:
            _expand(call, item, steps, path, virtual)
        return
    if not isinstance(body, dict) or not steps:
        return
    name, rest = steps[0], steps[1:]
    made = virtual.get((body.get("object", ""), name))
    if made is not None and not isinstance(body.get(name), dict):
        body[name] = made(call, body)
    elif name not in body:
        raise Refusal(400, f"This property cannot be expanded ({path}).", param="expand")
    value = body[name]
    if isinstance(value, str):
        kind = KINDS.get(value.partition("_")[0])
        found = call.world.store.get(kind, value) if kind else None
        if found is None:
            raise Refusal(400, f"This property cannot be expanded ({path}).", param="expand")
        body[name] = found
    _expand(call, body[name], rest, path, virtual)
