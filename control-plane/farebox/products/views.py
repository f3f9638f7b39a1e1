"""The endpoints by which operators manage upstreams, products and routes. Thin: the verbs are the service's.

The three are managed alike, so each endpoint is declared once and made for each. A PUT says the definition
whole: what it leaves out is the default, not what stood there before.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import Field

from farebox import problems
from farebox.endpoints import Access, Call, Endpoint, Endpoints, endpoint
from farebox.fields import Empty, Nothing, QueryInput, View
from farebox.problems import Refusal
from farebox.products import service
from farebox.products.offers import ProductSpec, RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox.web import Answer, invalid

TAG: Final = "Products"
_CODE: Final = {"code": "code"}
_CODE_PATTERN: Final = re.compile(r"[a-zA-Z0-9_.\-]{1,64}")
S = TypeVar("S", UpstreamSpec, ProductSpec, RouteSpec)


class CatalogueQuery(QueryInput):
    """Which part of the list: entries in the order of their codes."""

    limit: Annotated[int, Field(ge=1, le=100, description="Entries on a page.")] = 20
    after: Annotated[
        str,
        Field(
            pattern=r"^[a-zA-Z0-9_.\-]{0,64}$",
            description="The last code of the page before; leave out to begin.",
        ),
    ] = ""


class KeptView(View, Generic[S]):
    """A definition as it stands."""

    definition: S
    managed_by: Annotated[
        str | None, Field(description="The owner named by the declarative file that made it, if one did.")
    ]


class KeptList(View, Generic[S]):
    """One page; `next_after` is null on the last."""

    items: list[KeptView[S]]
    next_after: str | None


class PutView(View, Generic[S]):
    """What was put, and whether anything differs now."""

    definition: S
    changed: bool


def _endpoints(kind: type[Any], plural: str) -> Iterator[Endpoint[Any, Any, Any]]:
    noun = service.NOUNS[kind]
    kept, page_of, put_view = (_of(view, kind) for view in (KeptView, KeptList, PutView))

    @endpoint(
        "GET", f"/admin/{plural}", f"List {plural}",
        tag=TAG, access=Access.OPERATOR, query=CatalogueQuery, data=page_of,
    )  # fmt: skip
    async def list_all(call: Call[Nothing, CatalogueQuery]) -> Answer[Any]:
        """Lists them in the order of their codes."""
        found = await service.everything(
            call.session, kind, after=call.query.after, limit=call.query.limit + 1
        )
        page = found[: call.query.limit]
        items = [kept(definition=each.spec, managed_by=each.managed_by) for each in page]
        following = page[-1].spec.code if len(found) > len(page) else None
        return Answer(page_of(items=items, next_after=following), f"{plural.capitalize()} listed.")

    @endpoint(
        "GET", f"/admin/{plural}/{{code}}", f"Show the {noun}",
        tag=TAG, access=Access.OPERATOR, data=kept, refusals=(problems.NOT_FOUND,),
        identifiers=_CODE,
    )  # fmt: skip
    async def show(call: Call) -> Answer[Any]:
        """Shows its definition in full, defaults included."""
        found = await service.show(call.session, kind, _code(call))
        return Answer(kept(definition=found.spec, managed_by=found.managed_by), f"The {noun}.")

    @endpoint(
        "PUT", f"/admin/{plural}/{{code}}", f"Create or replace the {noun}",
        tag=TAG, access=Access.OPERATOR, body=kind, data=put_view,
        refusals=(problems.NOT_FOUND,), identifiers=_CODE,
    )  # fmt: skip
    async def put(call: Call[Any]) -> Answer[Any]:
        """Puts the whole definition; every gateway is told if anything differs. With Dry-Run: only checks."""
        spec = call.body
        if spec.code != _code(call):
            raise invalid("code", "is another than in the path; give the same")
        changed = await service.put(call.session, spec)
        said = f"The {noun} is on its way to the gateways." if changed else f"The {noun} is so already."
        return Answer(put_view(definition=spec, changed=changed), said)

    @endpoint(
        "DELETE", f"/admin/{plural}/{{code}}", f"Remove the {noun}",
        tag=TAG, access=Access.OPERATOR, data=Empty,
        refusals=(problems.NOT_FOUND, problems.STILL_IN_USE), identifiers=_CODE,
    )  # fmt: skip
    async def remove(call: Call) -> Answer[Empty]:
        """Removes it from every gateway; refused while something still leads there."""
        await service.remove(call.session, kind, _code(call))
        return Answer(Empty(), f"The {noun} is being removed from the gateways.")

    yield from (list_all, show, put, remove)


def _of(view: Any, kind: type[Any]) -> Any:
    """Return a generic view for this kind of definition."""
    return view[kind]


def _code(call: Call[Any, Any]) -> str:
    code = call.request.match_info["code"]
    if _CODE_PATTERN.fullmatch(code) is None:
        raise Refusal(problems.NOT_FOUND)
    return code


ENDPOINTS: Endpoints = (
    *_endpoints(UpstreamSpec, "upstreams"),
    *_endpoints(ProductSpec, "products"),
    *_endpoints(RouteSpec, "routes"),
)
