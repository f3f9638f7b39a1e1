"""`farebox product`, `farebox upstream`, `farebox route`: what is sold through the gateways, one at a time.

All work as the worker's role. Everything a definition can say may come from a file; the options are for what
is said most often. `farebox apply` is for many at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from farebox.settings import Settings
from farebox_cli.environment import pass_settings
from farebox_cli.errors import CommandError, Exit
from farebox_cli.output import Table, emit, json_option, print_json, say
from farebox_cli.worker_database import in_one_transaction

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.option(
    "--file", "-f", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML or JSON file with the definition; options given besides replace what it says.",
)  # fmt: skip


@click.group
def product() -> None:
    """API products: named offers of routes, and what the routes have in common."""


@click.group
def upstream() -> None:
    """Where APIs live: nodes, balancing, health checks, timeouts."""


@click.group
def route() -> None:
    """The API routes that the gateway serves, each metered."""


@product.command("put")
@click.argument("code")
@_FILE
@click.option("--name", help="What people call it; CODE unless given.")
@click.option("--upstream", "upstream_code", help="Where its routes lead unless they say otherwise.")
@pass_settings
def put_product(
    settings: Settings, *, code: str, file: Path | None, name: str | None, upstream_code: str | None
) -> None:
    """Create or replace the product CODE."""
    given = _definition(code, file, name=name, upstream=upstream_code)
    given.setdefault("name", code)
    _put(settings, "product", given)


@upstream.command("put")
@click.argument("code")
@_FILE
@click.option("--node", "nodes", multiple=True, help="host:port, with =WEIGHT if not 1.")
@click.option("--scheme", type=click.Choice(["http", "https"]), help="http unless given.")
@click.option("--retries", type=int, help="How many other nodes are tried after a failure.")
@pass_settings
def put_upstream(
    settings: Settings,
    *,
    code: str,
    file: Path | None,
    nodes: tuple[str, ...],
    scheme: str | None,
    retries: int | None,
) -> None:
    """Create or replace the upstream CODE."""
    _put(settings, "upstream", _definition(code, file, nodes=_nodes(nodes), scheme=scheme, retries=retries))


@route.command("put")
@click.argument("code")
@_FILE
@click.option("--path", "--uri", "paths", multiple=True, help="A path; `*` at its end takes all below it.")
@click.option("--node", "nodes", multiple=True, help="host:port of the API; with =WEIGHT if not 1.")
@click.option("--upstream", "upstream_code", help="The upstream's code; CODE unless given, or a product.")
@click.option("--product", "product_code", help="The product that the route belongs to.")
@click.option("--method", "methods", multiple=True, help="An HTTP method; every one unless given.")
@click.option("--host", "hosts", multiple=True, help="A host name; every one unless given.")
@click.option("--units", type=int, help="What one request counts for; 1 unless given.")
@click.option("--upstream-units", is_flag=True, help="The API's X-Farebox-Units header decides instead.")
@pass_settings
def put_route(
    settings: Settings,
    *,
    code: str,
    file: Path | None,
    paths: tuple[str, ...],
    nodes: tuple[str, ...],
    upstream_code: str | None,
    product_code: str | None,
    methods: tuple[str, ...],
    hosts: tuple[str, ...],
    units: int | None,
    upstream_units: bool,
) -> None:
    """Create or replace the route CODE; the gateway serves it within a second.

    With --node its upstream is put too.
    """
    given = _definition(
        code,
        file,
        paths=list(paths) or None,
        upstream=upstream_code,
        product=product_code,
        methods=[method.upper() for method in methods] or None,
        hosts=list(hosts) or None,
        units=units,
        upstream_units=upstream_units or None,
    )
    if nodes or "product" not in given:
        given.setdefault("upstream", code)
    leads_to = {"code": given["upstream"], "nodes": _nodes(nodes)} if nodes else None

    async def act(session: "AsyncSession") -> None:
        from farebox.products import service
        from farebox.products.offers import RouteSpec
        from farebox.products.upstreams import UpstreamSpec
        from farebox.web import read_value

        if leads_to is not None:
            await service.put(session, read_value(leads_to, UpstreamSpec))
        await service.put(session, read_value(given, RouteSpec))

    in_one_transaction(settings, act)
    say(f"The route {code} is on its way to the gateway.")


@route.command("release")
@click.argument("code")
@click.option("--percentage", type=click.IntRange(0, 100), help="Send this share to the new version.")
@click.option("--next", "forward", is_flag=True, help="Go on: 1, 5, 25, then 100 percent.")
@click.option("--back", is_flag=True, help="Send the share back to 0.")
@click.option("--finish", is_flag=True, help="Lead the route to the new version and end the release.")
@pass_settings
def release_route(
    settings: Settings, *, code: str, percentage: int | None, forward: bool, back: bool, finish: bool
) -> None:
    """Move the roll-out of the route CODE's new version."""
    if sum((percentage is not None, forward, back, finish)) != 1:
        raise CommandError("Give one of --percentage, --next, --back, --finish.", exit_code=Exit.USAGE)

    async def act(session: "AsyncSession") -> str:
        from farebox.products import rollout

        if finish:
            return await rollout.finish(session, code)
        return await rollout.move(session, code, to=0 if back else percentage)

    say(in_one_transaction(settings, act))


def _kind(noun: str) -> Any:
    from farebox.products.offers import ProductSpec, RouteSpec
    from farebox.products.upstreams import UpstreamSpec

    return {"product": ProductSpec, "upstream": UpstreamSpec, "route": RouteSpec}[noun]


def _put(settings: Settings, noun: str, given: dict[str, Any]) -> None:
    async def act(session: "AsyncSession") -> bool:
        from farebox.products import service
        from farebox.web import read_value

        return await service.put(session, read_value(given, _kind(noun)))

    changed = in_one_transaction(settings, act)
    say(
        f"The {noun} {given['code']} is on its way to the gateway."
        if changed
        else f"The {noun} {given['code']} is so already."
    )


def _definition(code: str, file: Path | None, **options: object) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if file is not None:
        from farebox.products.documents import load

        read = load(file.read_text(encoding="utf-8")).value
        if not isinstance(read, dict):
            raise CommandError(f"{file}: a definition is an object of fields.", exit_code=Exit.USAGE)
        given.update(read)
    given.update({name: value for name, value in options.items() if value is not None})
    return {**given, "code": code}


def _nodes(texts: tuple[str, ...]) -> list[dict[str, Any]] | None:
    nodes = []
    for text in texts:
        address, equals, weight = text.partition("=")
        if equals and not weight.isdigit():
            raise CommandError(
                f"{text!r}: a weight is a whole number, as in host:port=10.", exit_code=Exit.USAGE
            )
        nodes.append({"address": address, "weight": int(weight) if equals else 1})
    return nodes or None


def _list(settings: Settings, noun: str, *, as_json: bool) -> None:
    async def act(session: "AsyncSession") -> list[Any]:
        from farebox.products import service

        return list(await service.everything(session, _kind(noun)))

    found = in_one_transaction(settings, act)
    columns, row = _COLUMNS[noun]
    data = [{**each.spec.brief(), "managed_by": each.managed_by} for each in found]
    emit(
        data,
        as_json=as_json,
        tables=Table((*columns, "file"), [(*row(each.spec), each.managed_by) for each in found]),
    )


def _show(settings: Settings, noun: str, code: str) -> None:
    async def act(session: "AsyncSession") -> Any:
        from farebox.products import service

        return await service.show(session, _kind(noun), code)

    found = in_one_transaction(settings, act)
    print_json({**found.spec.document(), "managed_by": found.managed_by})


def _remove(settings: Settings, noun: str, code: str) -> None:
    async def act(session: "AsyncSession") -> None:
        from farebox.products import service

        if noun == "route":
            await service.remove_route(session, code)
        else:
            await service.remove(session, _kind(noun), code)

    in_one_transaction(settings, act)
    say(f"The {noun} {code} is being removed from the gateway.")


def _route_row(spec: Any) -> tuple[object, ...]:
    return (
        spec.code, " ".join(spec.paths), " ".join(spec.methods) or "any", " ".join(spec.hosts) or "any",
        spec.product, spec.upstream, "by the upstream" if spec.upstream_units else spec.units,
    )  # fmt: skip


def _upstream_row(spec: Any) -> tuple[object, ...]:
    nodes = (f"{each.address}={each.weight}" if each.weight != 1 else each.address for each in spec.nodes)
    return spec.code, spec.scheme, ", ".join(nodes), spec.balancing.algorithm, spec.checks is not None


_COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[Any], tuple[object, ...]]]] = {
    "product": (("product", "name", "upstream"), lambda spec: (spec.code, spec.name, spec.upstream)),
    "upstream": (("upstream", "scheme", "nodes", "balancing", "checked"), _upstream_row),
    "route": (("route", "paths", "methods", "hosts", "product", "upstream", "units"), _route_row),
}


def _register(group: click.Group, noun: str) -> None:
    """Give each group its `list`, `show` and `remove`, which differ in the noun alone."""

    @group.command("list", help=f"Show every {noun}.")
    @json_option
    @pass_settings
    def list_all(settings: Settings, *, as_json: bool) -> None:
        _list(settings, noun, as_json=as_json)

    @group.command("show", help=f"Show the {noun} CODE in full, as JSON.")
    @click.argument("code")
    @pass_settings
    def show_one(settings: Settings, *, code: str) -> None:
        _show(settings, noun, code)

    also = ", and the upstream of its name if nothing else leads there" if noun == "route" else ""

    @group.command("remove", help=f"Remove the {noun} CODE{also}.")
    @click.argument("code")
    @pass_settings
    def remove_one(settings: Settings, *, code: str) -> None:
        _remove(settings, noun, code)


for _group, _noun in ((product, "product"), (upstream, "upstream"), (route, "route")):
    _register(_group, _noun)
