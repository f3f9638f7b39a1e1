"""Setting a paper as PDF, with typst: the fonts are inside it, and its only date is the paper's own.

So the same paper gives the same bytes, on any machine. Fonts of more scripts can be given as a folder.
"""

import asyncio
import json
import re
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import typst

from farebox.papers.document import Document

FONTS: Final = ("Libertinus Serif", "DejaVu Sans Mono")
_NOON_OF_THE_FIRST_DAY: Final = 43_200
_LONG_WORD: Final = re.compile(r"\S{33,}")
_PIECE: Final = re.compile(r"\S{16}")
_MAY_BREAK: Final = "\N{ZERO WIDTH SPACE}"


def set_pdf(document: Document, *, fonts: Path | None = None) -> bytes:
    """Return the PDF. `fonts`: a folder of further fonts, asked where ours have no letter for something."""
    return b"".join(_compiled(document, "pdf", fonts))


def set_pictures(document: Document, *, fonts: Path | None = None, ppi: float = 96) -> list[bytes]:
    """Return each page as PNG."""
    return _compiled(document, "png", fonts, ppi=ppi)


async def in_thread(document: Document, *, fonts: Path | None = None) -> bytes:
    """Return the PDF, set beside the event loop."""
    return await asyncio.to_thread(set_pdf, document, fonts=fonts)


def _compiled(
    document: Document, form: Literal["pdf", "png"], fonts: Path | None, *, ppi: float | None = None
) -> list[bytes]:
    template: Any = _template()
    made: Any = typst.compile(
        template,
        format=form,
        font_paths=[] if fonts is None else [str(fonts)],
        ignore_system_fonts=True,
        sys_inputs={"document": json.dumps(_data(document, fonts), ensure_ascii=False)},
        timestamp=_NOON_OF_THE_FIRST_DAY,
        ppi=ppi,
    )
    return made if isinstance(made, list) else [made]


def _data(document: Document, fonts: Path | None) -> dict[str, Any]:
    issued = document.issued
    day = None if issued is None else [issued.year, issued.month, issued.day]
    data: dict[str, Any] = _breakable(asdict(document))
    return data | {
        "issued": day,
        "digest": document.digest,
        "fonts": [*FONTS, *_families(fonts)],
    }


def _breakable(value: Any) -> Any:
    """Let a word that is longer than a column be broken: a zero-width space after every so many letters."""
    if isinstance(value, str):
        return _LONG_WORD.sub(lambda word: _PIECE.sub(f"\\g<0>{_MAY_BREAK}", word[0]), value)
    if isinstance(value, dict):
        return {name: _breakable(each) for name, each in value.items()}
    return [_breakable(each) for each in value] if isinstance(value, list | tuple) else value


@lru_cache(maxsize=8)
def _families(fonts: Path | None) -> tuple[str, ...]:
    if fonts is None:
        return ()
    found = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(fonts)])
    return tuple(sorted(set(found.families())))


@lru_cache(maxsize=1)
def _template() -> bytes:
    return resources.files("farebox.papers").joinpath("paper.typ").read_bytes()
