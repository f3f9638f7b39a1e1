"""Setting a paper as PDF, with typst: the fonts are inside it, and its only date is the paper's own.

So the same paper gives the same bytes, on any machine. Fonts of more scripts can be given as a folder.
"""

import asyncio
import json
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import typst

from farebox.papers.document import Document

FONTS: Final = ("Libertinus Serif", "DejaVu Sans Mono")
_NOON_OF_THE_FIRST_DAY: Final = 43_200


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
    made: Any = typst.compile(
        _template(),
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
    return asdict(document) | {"issued": day, "fonts": [*FONTS, *_families(fonts)]}


@lru_cache(maxsize=8)
def _families(fonts: Path | None) -> tuple[str, ...]:
    if fonts is None:
        return ()
    found = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(fonts)])
    return tuple(sorted(set(found.families())))


@lru_cache(maxsize=1)
def _template() -> bytes:
    return resources.files("farebox.papers").joinpath("paper.typ").read_bytes()
