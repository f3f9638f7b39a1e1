"""The declarative file: YAML or JSON read into checked values, each problem with its line. Pure.

Reads text and nothing else: what stands in the database is for `applying`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, ValidationError

from farebox.plans.service import PlanInput
from farebox.products.offers import ProductSpec, RouteSpec, contradiction
from farebox.products.upstreams import UpstreamSpec
from farebox.products.values import Code, Spec
from farebox.web import remedy

MOST_NODES: Final = 200_000
Place = tuple[str | int, ...]


class CatalogueDocument(Spec):
    """What the file says. `owner` labels what an apply of this file makes; only that is ever pruned."""

    version: Literal[1] = 1
    owner: Code = "file"
    upstreams: Annotated[list[UpstreamSpec], Field(max_length=5000, default_factory=list)]
    products: Annotated[list[ProductSpec], Field(max_length=5000, default_factory=list)]
    routes: Annotated[list[RouteSpec], Field(max_length=5000, default_factory=list)]
    plans: Annotated[list[PlanInput], Field(max_length=500, default_factory=list)]


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Something wrong in the file: where, in which field, and the remedy. `line` counts from 1."""

    line: int
    field: str
    problem: str

    def __str__(self) -> str:
        """Say it as compilers do, after the file's name."""
        return f"{self.line}: {self.field}: {self.problem}"


class DocumentError(Exception):
    """The file cannot be used; `problems` are all that is wrong with it, by line."""

    def __init__(self, problems: Iterable[LineProblem]) -> None:
        """Keep the problems in the order of their lines."""
        self.problems = sorted(problems, key=lambda each: (each.line, each.field))
        super().__init__("; ".join(str(each) for each in self.problems))


@dataclass(frozen=True, slots=True)
class Loaded:
    """Plain data, and the line on which each part of it begins."""

    value: Any
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest part around it that the file has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problem(self, place: Place, text: str) -> LineProblem:
        """Return a problem at a place."""
        return LineProblem(self.line(place), ".".join(map(str, place)) or "(file)", text)


def load(text: str) -> Loaded:
    """Read YAML or JSON. Raises `DocumentError`: syntax, a name given twice, aliases without end."""
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented with tabs, YAML may not
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or "cannot be read"
        raise DocumentError([LineProblem(mark.line + 1 if mark else 1, "(syntax)", str(said))]) from None
    if root is None:
        return Loaded({})
    return _Reading().whole(root)


def read_document(text: str) -> tuple[CatalogueDocument, Loaded]:
    """Read and check the file by itself. Raises `DocumentError` with every problem it finds."""
    loaded = load(text)
    if not isinstance(loaded.value, dict):
        raise DocumentError(
            [loaded.problem((), "a file is an object with upstreams, products, routes, plans")]
        )
    try:
        document = CatalogueDocument.model_validate(loaded.value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True, include_input=False)
        raise DocumentError(
            loaded.problem(each["loc"], remedy(each, CatalogueDocument)) for each in found
        ) from None
    problems = [*_twice(document, loaded), *_contradictions(document, loaded)]
    if problems:
        raise DocumentError(problems)
    return document, loaded


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, as docs publish it."""
    made = CatalogueDocument.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _twice(document: CatalogueDocument, loaded: Loaded) -> Iterable[LineProblem]:
    for name in ("upstreams", "products", "routes", "plans"):
        seen: set[str] = set()
        for index, each in enumerate(getattr(document, name)):
            if each.code in seen:
                yield loaded.problem(
                    (name, index, "code"), f"{each.code!r} stands there twice; name each once"
                )
            seen.add(each.code)


def _contradictions(document: CatalogueDocument, loaded: Loaded) -> Iterable[LineProblem]:
    products = {each.code: each for each in document.products}
    for index, route in enumerate(document.routes):
        if route.product is not None and route.product not in products:
            continue  # it may stand in the database
        found = contradiction(route, products[route.product] if route.product else None)
        if found is not None:
            yield loaded.problem(("routes", index, *found[0].split(".")), found[1])


class _Reading:
    """One walk over the nodes of a file, counting them: aliases may unfold without end."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[LineProblem] = []
        self.seen = 0

    def whole(self, root: yaml.Node) -> Loaded:
        value = self._value(root, ())
        if self.problems:
            raise DocumentError(self.problems)
        return Loaded(value, self.lines)

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self.seen += 1
        line = node.start_mark.line + 1
        if self.seen > MOST_NODES:
            raise DocumentError([LineProblem(line, "(file)", f"unfolds to more than {MOST_NODES} values")])
        self.lines.setdefault(place, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(each, (*place, index)) for index, each in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            here = (*place, name)
            line = key.start_mark.line + 1
            if name in found:
                self.problems.append(
                    LineProblem(line, ".".join(map(str, here)), "is given twice; give it once")
                )
            self.lines[here] = line
            found[name] = self._value(value, here)
        return found

    def _scalar(self, node: yaml.Node) -> Any:
        text = str(node.value)
        try:
            match node.tag.rpartition(":")[2]:
                case "null":
                    return None
                case "bool":
                    return yaml.SafeLoader.bool_values[text.lower()]
                case "int":
                    return int(text.replace("_", ""))
                case "float":
                    return float(text.replace("_", ""))
        except ValueError:
            return text  # such as 1:30 or 0o8, which YAML calls numbers: the field says what it takes
        return text
