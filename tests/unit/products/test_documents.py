"""The declarative file by itself: what is read, what is refused and on which line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farebox.products.documents import CatalogueDocument, DocumentError, load, read_document

GOOD = """\
upstreams:
  - code: api
    nodes:
      - {address: "10.0.0.1:8080", weight: 3}
products:
  - code: chat
    name: Chat
    upstream: api
routes:
  - code: messages
    product: chat
    paths: [/v1/messages/*]
"""


def problems(text: str) -> list[str]:
    """Return everything that is wrong with a file."""
    with pytest.raises(DocumentError) as refused:
        read_document(text)
    return [str(each) for each in refused.value.problems]


def test_a_sound_file_is_read_whether_yaml_or_json() -> None:
    """JSON, indented with tabs too, is read into the same values."""
    document, _ = read_document(GOOD)
    as_json = json.dumps(load(GOOD).value, indent="\t")
    assert read_document(as_json)[0] == document
    assert document.upstreams[0].nodes[0].weight == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("weight: 3", "weight: many"), "4: upstreams.0.nodes.0.weight: must be a whole number"),
        (('"10.0.0.1:8080"', "10.0.0.1"), "4: upstreams.0.nodes.0.address: must be host:port"),
        (("name: Chat", "nane: Chat"), "7: products.0.nane: is not known; remove it"),
        (("code: messages", "code: farebox-x"), "10: routes.0.code: names that begin with farebox-"),
        (("paths: [/v1/messages/*]", "paths: [v1]"), "12: routes.0.paths.0: must match"),
        (("    upstream: api\n", ""), "9: routes.0.upstream: the product 'chat' has no upstream"),
        (("    name: Chat", "    code: chat"), "7: products.0.code: is given twice; give it once"),
        (("nodes:", "nodes: ["), "4: (syntax)"),
    ],
)
def test_each_problem_has_its_line(change: tuple[str, str], said: str) -> None:
    """The line is that of the value, or of what should hold it; the remedy stands beside it."""
    assert any(each.startswith(said) for each in problems(GOOD.replace(*change))), problems(
        GOOD.replace(*change)
    )


def test_every_problem_is_said_at_once() -> None:
    """One run of lint is enough to mend a file."""
    text = GOOD.replace("weight: 3", "weight: -1").replace("[/v1/messages/*]", "[]") + "  - code: messages\n"
    assert [each.partition(":")[0] for each in problems(text)] == ["4", "12", "13"]


def test_what_stands_twice_is_refused() -> None:
    """Two objects of one code cannot both be meant."""
    text = GOOD.replace("products:", '  - code: api\n    nodes: [{address: "h:1"}]\nproducts:')
    assert problems(text) == ["5: upstreams.1.code: 'api' stands there twice; name each once"]


def test_a_file_that_unfolds_without_end_is_refused() -> None:
    """Aliases of aliases are counted before they are built."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "unfolds to more than" in problems("\n".join(lines))[0]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever the file holds, it is read or refused with lines; nothing else is raised."""
    try:
        document, _ = read_document(text)
    except DocumentError as error:
        found = error.problems
    else:
        assert document == CatalogueDocument(upstreams=[], products=[], routes=[], plans=[])
        return
    assert found
    assert all(each.line >= 1 for each in found)
