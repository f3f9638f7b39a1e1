"""Faults to order: what a provider does on its bad days, once or several times, to requests of one's choice.

Knows paths and kinds of trouble; refuses to know what the requests mean.
"""

import os
import re
import signal
from dataclasses import asdict, dataclass
from typing import Final, Literal, NoReturn, get_args

import msgspec
from aiohttp import web

from farebox.sandbox.world import World

Kind = Literal[
    "error_before",
    "error_after",
    "lost_answer",
    "slow",
    "slow_answer",
    "down",
    "rate_limited",
    "crash_before",
    "crash_after",
]
KINDS: Final = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Fault:
    """One order. `path` is a regular expression over the whole path; `times` counts down to nothing.

    `seconds` is for the slow ones, `status` (500 to 599) for the errors.
    """

    kind: Kind
    path: str
    method: str = "POST"
    times: int = 1
    seconds: float = 1.0
    status: int = 500


def order(world: World, given: object) -> Fault:
    """Take an order; ValueError names what is wrong with it."""
    fault = msgspec.convert(given, Fault)
    if not 1 <= fault.times <= 10_000 or not 0 <= fault.seconds <= 600 or not 500 <= fault.status <= 599:
        raise ValueError("times is 1 to 10000, seconds 0 to 600, status 500 to 599")
    try:
        re.compile(fault.path)
    except re.error as error:
        raise ValueError(f"path is no regular expression: {error}") from error
    world.store.set_note("faults", [*ordered(world), asdict(fault)])
    return fault


def ordered(world: World) -> list[dict[str, object]]:
    """The orders that still wait."""
    return list(world.store.note("faults") or [])


def take(world: World, method: str, path: str) -> Fault | None:
    """The first order that fits this request, counted down; it survives a crash as counted."""
    waiting = [msgspec.convert(given, Fault) for given in ordered(world)]
    for index, fault in enumerate(waiting):
        if fault.method in {method, "*"} and re.fullmatch(fault.path, path):
            left = [] if fault.times == 1 else [_less(fault)]
            world.store.set_note("faults", [asdict(f) for f in waiting[:index] + left + waiting[index + 1 :]])
            return fault
    return None


def _less(fault: Fault) -> Fault:
    return Fault(**{**asdict(fault), "times": fault.times - 1})


def cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def crash() -> NoReturn:
    """Die as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(137)
