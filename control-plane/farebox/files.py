"""Answers that are files: an endpoint whose data is one of these answers it as it is, without envelope."""

from typing import ClassVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict


class File(BaseModel):
    """A file by its name. The name is ours: letters, digits, dots and dashes."""

    model_config = ConfigDict(frozen=True)
    media_type: ClassVar[str]

    name: str
    content: bytes


class Pdf(File):
    """A PDF."""

    media_type = "application/pdf"


class Csv(File):
    """Comma-separated values, RFC 4180, in UTF-8."""

    media_type = "text/csv"


def answer(file: File, *, status: int = 200) -> web.Response:
    """Answer with a file, to be saved."""
    return web.Response(
        body=file.content,
        status=status,
        content_type=file.media_type,
        charset="utf-8" if file.media_type.startswith("text/") else None,
        headers={"Content-Disposition": f'attachment; filename="{file.name}"'},
    )
