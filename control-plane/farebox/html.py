"""The few pages for people: rendered from templates, without scripts, under a strict content policy."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

POLICY: Final = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(
    template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> web.Response:
    """Render a template to an answer."""
    text = _environment().get_template(template).render(values)
    return web.Response(
        text=text,
        status=status,
        content_type="text/html",
        headers={"Content-Security-Policy": POLICY, **(headers or {})},
    )


async def style(_request: web.Request) -> web.Response:
    """Answer with the style sheet of every page."""
    text = resources.files("farebox").joinpath("templates/style.css").read_text(encoding="utf-8")
    return web.Response(text=text, content_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("farebox"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ticks"] = _ticks
    return environment


def _ticks(text: str) -> Markup:
    """Show what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
