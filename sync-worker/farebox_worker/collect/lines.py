"""Bytes of a log become a table of usage lines, and the lines that are none are named with their place.

`farebox_contract.usage_line.decode` alone decides what a line is. It is too slow for every line, so polars
parses a whole chunk and this module then proves, line by line but in columns, that `decode` would have said
the same. The proof is by length. Compact JSON with each member once is the shortest text that can hold given
values, so a line as long as that minimum repeats no member, has none unknown, no escape and no blank, and
types and bounds are checked besides. Every line without the proof is given to `decode` itself; a chunk that
polars cannot parse is given to it whole. The two paths therefore agree, which a property test holds.

Knows no file and no database.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import polars as pl

from farebox_contract import usage_line
from farebox_contract.keys import ENVIRONMENTS
from farebox_contract.usage_line import MalformedLineError, UsageLine

_ENVIRONMENT: Final = pl.Enum(ENVIRONMENTS)
_OUTCOME: Final = pl.Enum(get_args(usage_line.Outcome))
# Categories are read from JSON strings only, where polars would turn a number into a String column's text.
_NAME: Final = pl.Categorical()

SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "line": pl.UInt32,
    "ts": pl.Int64,
    "node": _NAME,
    "boot": _NAME,
    "worker": pl.Int64,
    "seq": pl.Int64,
    "env": _ENVIRONMENT,
    "org": _NAME,
    "key": _NAME,
    "sub": _NAME,
    "group": _NAME,
    "route": _NAME,
    "method": _NAME,
    "status": pl.Int64,
    "outcome": _OUTCOME,
    "units": pl.Int64,
    "in": pl.Int64,
    "out": pl.Int64,
    "us": pl.Int64,
}
"""The columns of a chunk: the members that usage is made of, and `line`, the number of the line in the chunk.
Members that the line left out are null."""

_TEXTS: Final = {"rid": 64, "path": 2 * 1_024, "ip": 64, "ua": 2 * 256}
_NAMES: Final = {
    **dict.fromkeys(("node", "org", "key", "sub", "group", "route"), 128), "boot": 32, "method": 32,
}  # fmt: skip
_NUMBERS: Final = ("worker", "seq", "status", "units", "in", "out", "us", "up_us")
_OPTIONAL: Final = frozenset({"env", "org", "key", "sub", "group", "route", "up_us", "ua"})
_MAY_BE_EMPTY: Final = frozenset({"boot", "method", "path", "ip", "ua"})
_STRINGS: Final = (*_NAMES, "env", "outcome", *_TEXTS)
_WHOLE: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    **{name: kind for name, kind in SCHEMA.items() if name != "line"},
    "v": pl.Int64,
    "up_us": pl.Int64,
    **dict.fromkeys(_TEXTS, pl.String),
}
# What polars could have made text of although the line held no string: a number, a truth value, a container.
# It writes all digits of a number and no exponent, so a hexadecimal `rid` is not taken for one.
_MAYBE_NO_STRING: Final = r"^(?:-?[0-9]+(?:\.[0-9]*)?|-?inf|NaN|true|false|null|[\[{].*)$"
_COUNTABLE: Final = 10**12
"""Up to here the number of digits by logarithm is exact; greater numbers go to `decode`."""
_FIRST_TS: Final = 10**12
_LAST_TS: Final = 10**13 - 1
"""Between them (2001 to 2286) a time has 13 digits; others go to `decode`."""
_FRAME: Final = '{"v":1,"ts":1234567890123}'
_LIMITS: Final = {**_NAMES, **_TEXTS}
_MOST_PUNCTUATION: Final = len(_FRAME) + sum(len(f',"{name}":""') + 20 for name in (*_STRINGS, *_NUMBERS))
_STREAM_DOUBT: Final = (pl.col("boot").cast(pl.String) != "") != (pl.col("seq") > 0)
_OWNER_DOUBT: Final = pl.col("key").is_not_null() & pl.col("org").is_null()


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no usage line: its number in the chunk, its place and the reason `decode` gave."""

    line: int
    start: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A chunk of whole lines. `frame` has the columns of `SCHEMA`, in the order of the lines."""

    lines: int
    frame: pl.DataFrame
    bad: Sequence[BadLine]


def decode_chunk(chunk: bytes) -> Decoded:
    """Read a chunk that ends with a newline. Every line ends up in `frame` or in `bad`."""
    if not chunk.startswith(b"{"):
        # polars takes bytes that begin like a compressed file for one, and would read what is inside.
        return decode_line_by_line(chunk)
    try:
        whole = pl.read_ndjson(chunk, schema=_WHOLE)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return decode_line_by_line(chunk)
    frame = whole.with_row_index("line").select(SCHEMA.keys())
    if _all_proven(whole, len(chunk)):
        return Decoded(frame.height, frame, ())
    if frame.height != chunk.count(b"\n"):
        return decode_line_by_line(chunk)
    return _decode_doubtful(chunk, frame, _judged(whole))


def decode_line_by_line(chunk: bytes) -> Decoded:
    """Read a chunk that ends with a newline by `decode` alone."""
    texts = _split(chunk)
    good, bad = _decode_each(enumerate(texts), _starts(texts))
    return Decoded(len(texts), _frame(good), bad)


def _decode_doubtful(chunk: bytes, frame: pl.DataFrame, judged: pl.DataFrame) -> Decoded:
    texts = _split(chunk)
    lengths = pl.Series("length", [len(text) for text in texts], dtype=pl.Int64)
    proven = judged["sound"] & (judged["shortest"] == lengths)
    doubtful: list[int] = (~proven).arg_true().to_list()
    good, bad = _decode_each(((number, texts[number]) for number in doubtful), _starts(texts))
    return Decoded(len(texts), pl.concat([frame.filter(proven), _frame(good)]).sort("line"), bad)


def _decode_each(
    texts: Iterable[tuple[int, bytes]], starts: Sequence[int]
) -> tuple[list[tuple[int, UsageLine]], list[BadLine]]:
    good: list[tuple[int, UsageLine]] = []
    bad: list[BadLine] = []
    for number, text in texts:
        try:
            good.append((number, usage_line.decode(text)))
        except MalformedLineError as error:
            bad.append(BadLine(number, starts[number], len(text), str(error)))
    return good, bad


def _frame(lines: Sequence[tuple[int, UsageLine]]) -> pl.DataFrame:
    columns: dict[str, list[object]] = {"line": [number for number, _ in lines]}
    for name in SCHEMA:
        if name != "line":
            attribute = "in_" if name == "in" else name
            columns[name] = [getattr(line, attribute) for _, line in lines]
    return pl.DataFrame(columns, schema=SCHEMA)


def _split(chunk: bytes) -> list[bytes]:
    texts = chunk.split(b"\n")
    if texts.pop():
        raise ValueError("a chunk ends with a newline")
    return texts


def _starts(texts: Sequence[bytes]) -> list[int]:
    starts, start = [], 0
    for text in texts:
        starts.append(start)
        start += len(text) + 1
    return starts


def _all_proven(whole: pl.DataFrame, size: int) -> bool:
    """Tell from a few sums and extremes what `_judged` tells of each line: that all are sound and shortest.

    No line is shorter than its shortest form and a newline, so equal sums mean that every line has that form.
    """
    rows = whole.height
    lengths = whole.select(_text(name).str.len_bytes().cast(pl.Int64).alias(name) for name in _STRINGS)
    longest, least, written = (
        frame.row(0, named=True) for frame in (lengths.max(), lengths.min(), lengths.sum())
    )
    greatest, smallest = (
        whole.select(getattr(pl.col("v", "ts", *_NUMBERS), extreme)()).row(0, named=True)
        for extreme in ("max", "min")
    )
    absent = whole.null_count().row(0, named=True)
    if any(absent[name] for name in _WHOLE.keys() - _OPTIONAL):
        return False
    bounds = [(1, smallest["v"], greatest["v"], 1)]
    bounds.append((_FIRST_TS, smallest["ts"], greatest["ts"], _LAST_TS))
    bounds += [(0, smallest[name], greatest[name], _ceiling(name)) for name in _NUMBERS]
    bounds += [(_least(name), least[name], longest[name], limit) for name, limit in _LIMITS.items()]
    if any(
        low is not None and not (floor <= low and high <= ceiling) for floor, low, high, ceiling in bounds
    ):
        return False
    longest_line = sum(longest[name] or 0 for name in _STRINGS) + _MOST_PUNCTUATION
    doubts = whole.select(
        *(pl.col(name).str.contains(_MAYBE_NO_STRING).any().alias(name) for name in _TEXTS),
        _STREAM_DOUBT.any().alias("stream"),
        _OWNER_DOUBT.any().alias("owner"),
    )
    if longest_line > usage_line.MAX_LINE_BYTES or any(doubts.row(0)):
        return False
    further_digits = whole.select(
        pl.lit(0).alias("none"),
        *(
            (pl.col(name) >= 10**power).sum().alias(f"{name} {power}")
            for name in _NUMBERS
            for power in range(1, len(str(greatest[name] or 0)))
        ),
    )
    shortest = rows * len(_FRAME + "\n") + sum(written.values()) + sum(further_digits.row(0))
    shortest += sum((rows - absent[name]) * len(f',"{name}":""') for name in _STRINGS)
    shortest += sum((rows - absent[name]) * len(f',"{name}":0') for name in _NUMBERS)
    return bool(shortest == size)


def _judged(whole: pl.DataFrame) -> pl.DataFrame:
    """Return two columns: `sound`, every bound of the contract holds; `shortest`, the length of the shortest
    line that says the same. Both hold no null.
    """
    column = pl.col
    sizes = whole.select(
        *(_text(name).str.len_bytes().cast(pl.Int64).alias(name) for name in _STRINGS),
        *(
            # 0 has a digit too, where log10 of 0.5 is below 0; a negative number is not sound anyway.
            (column(name) + 0.5).log10().floor().clip(lower_bound=0).cast(pl.Int64, strict=False).alias(name)
            for name in _NUMBERS
        ),
    )
    # A member that is absent adds nothing: sum_horizontal leaves nulls out.
    shortest = sizes.select(
        pl.sum_horizontal(
            pl.lit(len(_FRAME), dtype=pl.Int64),
            *(column(name) + len(f',"{name}":""') for name in _STRINGS),
            *(column(name) + len(f',"{name}":0') for name in _NUMBERS),
        ).alias("shortest")
    )["shortest"]
    measured = sizes.select(
        (shortest <= usage_line.MAX_LINE_BYTES).alias("line"),
        *(_present(name, column(name).is_between(_least(name), limit)) for name, limit in _LIMITS.items()),
    )
    told = whole.select(
        (column("v") == 1).alias("v"),
        column("ts").is_between(_FIRST_TS, _LAST_TS),
        *(_present(name, column(name).is_between(0, _ceiling(name))) for name in _NUMBERS),
        *(_present(name, ~column(name).str.contains(_MAYBE_NO_STRING)) for name in _TEXTS),
        column("outcome").is_not_null(),
        (~_STREAM_DOUBT).alias("stream"),
        (~_OWNER_DOUBT).alias("owner"),
    )
    sound = [frame.select(pl.all_horizontal(pl.all()).alias("sound"))["sound"] for frame in (measured, told)]
    return pl.DataFrame({"sound": (sound[0] & sound[1]).fill_null(value=False), "shortest": shortest})


def _least(name: str) -> int:
    return 0 if name in _MAY_BE_EMPTY else 1


def _ceiling(name: str) -> int:
    return 999 if name == "status" else _COUNTABLE - 1


def _text(name: str) -> pl.Expr:
    return pl.col(name) if name in _TEXTS else pl.col(name).cast(pl.String)


def _present(name: str, condition: pl.Expr) -> pl.Expr:
    return (condition.fill_null(value=True) if name in _OPTIONAL else condition).alias(name)
