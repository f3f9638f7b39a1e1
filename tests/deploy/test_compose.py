"""The compose file: complete, without default secrets, at one with the code and the gateway's settings."""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from farebox.settings import Settings
from farebox_cli.__main__ import cli

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
APISIX = (ROOT / "gateway" / "apisix" / "config.yaml").read_text()
SERVICES: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
REQUIRED = sorted(set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text())))
ONE_SHOT = {"usage-volume", "migrate"}
SECRET = re.compile(r"PASSWORD|SECRET|KEY$")


def command() -> list[str]:
    """The compose that this machine has: Docker's plugin, or the program of its own."""
    if shutil.which("docker") is not None:
        found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if found.returncode == 0:
            return ["docker", "compose"]
    if shutil.which("docker-compose") is not None:
        return ["docker-compose"]
    pytest.skip("neither `docker compose` nor `docker-compose` is here; CI installs one")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what compose reads, where an .env can be made."""
    shutil.copy(COMPOSE, tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    return tmp_path


def environment(project: Path) -> dict[str, str]:
    """What `deploy/make-env` has written."""
    lines = (project / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def config(project: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Have compose read and check the file."""
    return subprocess.run(
        [*command(), "config"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(project), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_accepts_the_file_with_the_secrets_that_make_env_makes(project: Path) -> None:
    """Two commands from a checkout to a running stack: the first makes all that the second asks for."""
    subprocess.run(["deploy/make-env"], cwd=project, check=True, capture_output=True)
    done = config(project)
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)["services"]
    assert resolved.keys() == SERVICES.keys()
    password = environment(project)["FAREBOX_APP_PASSWORD"]
    assert f":{password}@postgres" in resolved["web"]["environment"]["FAREBOX_DATABASE_URL"]


@pytest.mark.parametrize("missing", REQUIRED)
def test_nothing_secret_has_a_default(project: Path, missing: str) -> None:
    """Whatever is missing stops compose, which names the variable and the remedy."""
    subprocess.run(["deploy/make-env"], cwd=project, check=True, capture_output=True)
    given = {name: value for name, value in environment(project).items() if name != missing}
    (project / ".env").unlink()
    done = config(project, **given)
    assert done.returncode != 0
    assert "deploy/make-env" in done.stderr


def test_secrets_are_fresh_private_and_never_overwritten(project: Path) -> None:
    """Each is random and its own; the file is its owner's; a second run changes nothing."""
    run = [str(project / "deploy" / "make-env")]
    subprocess.run(run, check=True, capture_output=True)
    file = project / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = environment(project)
    assert set(REQUIRED) <= set(first)
    secrets = {name: value for name, value in first.items() if SECRET.search(name)}
    assert len(set(secrets.values())) == len(secrets) >= 9
    assert len(secrets["FAREBOX_DATA_KEY"]) == 16
    assert min(len(value) for name, value in secrets.items() if name != "FAREBOX_DATA_KEY") >= 48
    again = subprocess.run(run, check=False, capture_output=True)
    assert again.returncode == 1
    assert environment(project) == first
    file.unlink()
    subprocess.run(run, check=True, capture_output=True)
    assert not set(secrets.values()) & set(environment(project).values())


def test_no_literal_is_a_secret() -> None:
    """A password, secret or key in the file is always a variable that must be given."""
    for service, declared in SERVICES.items():
        for name, value in declared.get("environment", {}).items():
            if SECRET.search(name):
                assert re.fullmatch(r"\$\{\w+:\?run deploy/make-env\}", value), f"{service}: {name}={value}"


def test_every_service_is_watched_and_held_to_little() -> None:
    """A health check for whatever stays; no new privileges anywhere; read-only but for APISIX."""
    for name, declared in SERVICES.items():
        assert "no-new-privileges:true" in declared["security_opt"], name
        assert declared.get("read_only", False) or name == "apisix", name
        assert ("healthcheck" in declared) == (name not in ONE_SHOT), name
        assert not declared["image"].endswith(":latest"), name
        for volume in declared.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source} is not there"
                assert volume.endswith(":ro"), f"{name}: {source} can be written to"


def test_only_what_is_for_people_is_published() -> None:
    """The gateway's data plane to everybody, pages to this machine, stores and the Admin API to nobody."""
    published = {name: declared["ports"] for name, declared in SERVICES.items() if "ports" in declared}
    assert published.pop("apisix") == ["9080:9080", "9443:9443"]
    assert set(published) == {"web", "mail"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def farebox_commands() -> Iterator[list[str]]:
    """Every command line of ours in the file."""
    for declared in SERVICES.values():
        if declared["image"] == "farebox:local" and "entrypoint" not in declared:
            yield declared["command"]
            if "healthcheck" in declared:
                yield declared["healthcheck"]["test"][2:]


@pytest.mark.parametrize("words", farebox_commands(), ids=" ".join)
def test_every_command_exists(words: list[str]) -> None:
    """What a container runs, and what its health check asks, is a command with these options."""
    found: click.Command = cli
    rest = list(words)
    context = click.Context(cli)
    while isinstance(found, click.Group):
        following = found.get_command(context, rest.pop(0))
        assert following is not None
        found, context = following, click.Context(following, parent=context)
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


def test_every_variable_is_one_that_somebody_reads() -> None:
    """Ours are settings; the gateway's stand in its configuration, and none without a default is missing."""
    settings = {f"FAREBOX_{name.upper()}" for name in Settings.model_fields}
    for name, declared in SERVICES.items():
        if declared["image"] == "farebox:local":
            assert set(declared.get("environment", {})) <= settings | {"<<"}, name
    known = set(re.findall(r"\$\{\{(FAREBOX_\w+)", APISIX))
    needed = set(re.findall(r"\$\{\{(FAREBOX_\w+)\}\}", APISIX))
    given = set(SERVICES["apisix"]["environment"])
    assert given <= known
    assert needed <= given


def test_gateway_and_collector_share_the_log() -> None:
    """The collector reads where APISIX writes, as the same node and the same user."""
    gateway, collector = SERVICES["apisix"], SERVICES["collect"]
    for name in ("FAREBOX_USAGE_LOG", "FAREBOX_NODE"):
        assert gateway["environment"][name] == collector["environment"][name]
    assert "usage:/var/log/farebox" in gateway["volumes"]
    assert "usage:/var/log/farebox" in collector["volumes"]
    assert "USER 636:636" in (ROOT / "deploy" / "Dockerfile").read_text()
    plugins = next(volume for volume in gateway["volumes"] if volume.startswith("./plugins"))
    folder = gateway["environment"]["FAREBOX_LUA_FOLDER"]
    assert plugins == f"./plugins/apisix:{folder}/apisix:ro"
    assert (ROOT / "plugins" / "apisix" / "plugins" / "farebox-auth.lua").is_file()
