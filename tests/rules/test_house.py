"""House rules that a reader would otherwise have to remember. Each test's docstring gives the reason."""

import ast
import re
from pathlib import Path

import pytest

from farebox import outbox
from farebox_contract import plugins

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("control-plane", "gateway", "plugins", "sync-worker")
LINE_LIMIT = 400


def modules() -> list[Path]:
    """Every Python file of the product but the migrations, which are history."""
    found = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [path for path in found if "migrations/versions" not in path.as_posix()]


def markdown() -> list[Path]:
    """Every page of prose in the project."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return found + [page for package in PACKAGES for page in (ROOT / package).rglob("*.md")]


def named(path: Path) -> str:
    """Show a path as it stands in the project."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_module_says_why_it_exists_and_stays_readable(path: Path) -> None:
    """A module opens with its reason, and a file that outgrows a reading is split by concept."""
    source = path.read_text()
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), f"{named(path)} has no docstring"
    assert len(source.splitlines()) <= LINE_LIMIT, f"{named(path)} is longer than {LINE_LIMIT} lines"


@pytest.mark.parametrize("path", modules(), ids=named)
def test_nothing_is_swallowed_or_left_for_later(path: Path) -> None:
    """An exception that is passed over hides a loss; unfinished work is said in an issue, not in code."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            assert not all(isinstance(statement, ast.Pass) for statement in node.body), (
                f"{named(path)}:{node.lineno} swallows an exception"
            )
            assert node.type is not None, f"{named(path)}:{node.lineno} has a bare except"
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b|pragma: no cover", path.read_text())


@pytest.mark.parametrize("path", modules(), ids=named)
def test_only_the_database_module_commits(path: Path) -> None:
    """A transaction is visible at the edge and ends in one place, so nothing commits half a change.

    The gateway's side knows no SQL (import-linter holds that); what it commits is its own journal.
    """
    if named(path) == "control-plane/farebox/db.py" or "/migrations/" in named(path):
        return
    if named(path).startswith("gateway/"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr != "commit", f"{named(path)}:{node.lineno} commits"


@pytest.mark.parametrize(
    "path", [p for p in modules() if "control-plane/farebox/" in p.as_posix()], ids=named
)
def test_rules_ask_a_clock_for_the_time(path: Path) -> None:
    """`now` inside a rule cannot be tested at a month's end; it comes from a `Clock`."""
    if path.name in {"clock.py", "ids.py"} or "/sandbox/" in path.as_posix():
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            call = ast.unparse(node.func)
            assert call not in {"datetime.now", "datetime.utcnow", "time.time", "date.today"}, (
                f"{named(path)}:{node.lineno} reads the machine's clock"
            )


@pytest.mark.parametrize("path", modules(), ids=named)
def test_the_environment_is_read_once(path: Path) -> None:
    """Settings are made by the command that starts a process and passed on; nothing reads them at import."""
    for node in ast.parse(path.read_text()).body:
        for inner in ast.walk(node) if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) else ():
            if isinstance(inner, ast.Call):
                name = ast.unparse(inner.func)
                assert name not in {"Settings", "EdgeSettings", "create_async_engine", "os.getenv"}, (
                    f"{named(path)}:{inner.lineno} calls {name} at import"
                )


def test_each_job_has_a_heading_in_the_docs() -> None:
    """An operator who meets a job's name in a log finds what it does."""
    headings = re.findall(r"^#+ `?([a-z._]+)`?", (ROOT / "docs" / "jobs.md").read_text(), re.MULTILINE)
    jobs = {value.name for value in vars(outbox).values() if isinstance(value, outbox.Job)}
    assert jobs
    assert jobs <= set(headings), f"docs/jobs.md lacks {sorted(jobs - set(headings))}"


def test_each_plugin_attribute_is_described_in_the_docs() -> None:
    """Whoever reads a gateway's configuration finds each attribute under its plugin's heading."""
    page = (ROOT / "docs" / "plugins.md").read_text()
    sections = dict(re.findall(r"^## `([a-z-]+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for plugin, places in plugins.SCHEMAS.items():
        for place, schema in places.items():
            for attribute in schema["properties"]:
                if attribute != "_meta":
                    assert f"`{attribute}`" in sections[plugin], (
                        f"{plugin} on a {place}: `{attribute}` is not described"
                    )


@pytest.mark.parametrize("page", markdown(), ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """A dead link costs a newcomer more than no link."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{named(page)} links to {target}"
