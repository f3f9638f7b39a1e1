"""A letter as text and as HTML from one source, so that the two never say different things. Pure.

The source is plain text with three marks, each at the beginning of a line: `=> label: URL` is a button,
`| a | b |` a row of a table, and an empty line parts paragraphs. What stands in the text is escaped in the
HTML; values in it hold no line break, so they cannot bring a mark of their own.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

_BUTTON: Final = re.compile(r"=> (?P<label>.+?): (?P<url>https?://\S+)")
_ROW: Final = re.compile(r"\| (?P<label>.*?) \| (?P<value>.*) \|")
_LINK: Final = re.compile(r"https?://[^\s<>\"]+")
_STYLE: Final = {
    "button": "display:inline-block;padding:10px 18px;background:#0b6b53;color:#ffffff;border-radius:6px;"
    "text-decoration:none",
    "label": "padding:4px 16px 4px 0;color:#5b6472;vertical-align:top",
    "value": "padding:4px 0;font-weight:600;word-break:break-word",
}


def as_text(source: str) -> str:
    """Return the letter as it is sent to readers of plain text."""
    return "\n\n".join(_block_as_text(block) for block in _blocks(source)) + "\n"


def as_html(source: str) -> str:
    """Return the letter's body as HTML, everything in it escaped."""
    return "\n".join(_block_as_html(block) for block in _blocks(source))


def _blocks(source: str) -> Iterator[Sequence[str]]:
    for part in re.split(r"\n\s*\n", source.strip()):
        lines = [line.strip() for line in part.splitlines() if line.strip()]
        if lines:
            yield lines


def _block_as_text(lines: Sequence[str]) -> str:
    rows = [match for line in lines if (match := _ROW.fullmatch(line))]
    if len(rows) == len(lines):
        width = max(len(row["label"]) for row in rows)
        return "\n".join(f"{row['label'] + ':':<{width + 1}}  {row['value']}" for row in rows)
    return "\n".join(_line_as_text(line) for line in lines)


def _line_as_text(line: str) -> str:
    button = _BUTTON.fullmatch(line)
    return f"{button['label']}:\n{button['url']}" if button else line


def _block_as_html(lines: Sequence[str]) -> str:
    rows = [match for line in lines if (match := _ROW.fullmatch(line))]
    if len(rows) == len(lines):
        cells = "".join(
            f'<tr><td style="{_STYLE["label"]}">{escape(row["label"])}</td>'
            f'<td style="{_STYLE["value"]}">{escape(row["value"])}</td></tr>'
            for row in rows
        )
        return f'<table role="presentation" style="border-collapse:collapse">{cells}</table>'
    return f"<p>{'<br>'.join(_line_as_html(line) for line in lines)}</p>"


def _line_as_html(line: str) -> str:
    button = _BUTTON.fullmatch(line)
    if button:
        return f'<a href="{escape(button["url"])}" style="{_STYLE["button"]}">{escape(button["label"])}</a>'
    return _LINK.sub(lambda link: f'<a href="{link[0]}" style="color:#0b6b53">{link[0]}</a>', escape(line))
