"""Which gateways there are to push to, and where each and each of its nodes is reached.

Either the settings name one gateway with one node, `default`; or FAREBOX_GATEWAYS_FILE names any number. The
file holds no secret: it says in which environment variable each gateway's admin key stands.

    gateways:
      - code: eu
        admin_url: https://apisix-eu.internal:9180
        key_env: FAREBOX_GATEWAY_EU_KEY
        timeout: 5            # seconds, of every call; FAREBOX_GATEWAY_TIMEOUT_SECONDS if absent
        full_pass: 3600       # seconds between comparisons of everything; FAREBOX_FULL_PASS_SECONDS if absent
        nodes:
          - code: eu-1
            data_url: https://eu-1.internal:9443
            status_url: http://eu-1.internal:9090/v1/plugin/farebox-meter/node
            optional: false   # true: shown in every report, and never waited for
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from farebox.settings import Settings

DEFAULT: Final = "default"
_Code = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
_Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]


class GatewaysFileError(ValueError):
    """The gateways file cannot be used; the message names the place in it and the remedy."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a gateway: a data plane, and the endpoint at which it says what it enforces, if it has one.

    What is `optional` is reported like every other node, and never waited for.
    """

    code: str
    data_url: str
    status_url: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One gateway. `timeout` (seconds) bounds every call; `full_pass` is how often all of it is compared,
    `drift` how often each of its nodes.
    """

    code: str
    admin_url: str
    nodes: tuple[Node, ...]
    timeout: float
    full_pass: float
    key_prefix: str
    admin_key: str = field(repr=False)
    drift: float = 60.0


class _NodeInFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    code: _Code
    data_url: _Url
    status_url: _Url | None = None
    optional: bool = False


class _GatewayInFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    code: _Code
    admin_url: _Url
    key_env: Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
    timeout: Annotated[float, Field(gt=0, le=300)] | None = None
    full_pass: Annotated[float, Field(gt=0)] | None = None
    nodes: Annotated[list[_NodeInFile], Field(min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    gateways: Annotated[list[_GatewayInFile], Field(min_length=1)]


def targets(settings: Settings, environment: Mapping[str, str] | None = None) -> tuple[Target, ...]:
    """Return the gateways that the settings or their file name. Raises `GatewaysFileError`."""
    if settings.gateways_file is not None:
        variables = os.environ if environment is None else environment
        return _from_file(settings.gateways_file, settings, variables)
    node = Node(settings.node, settings.gateway_data_url, settings.gateway_status_url or None)
    return (
        Target(
            code=DEFAULT,
            admin_url=settings.gateway_admin_url,
            nodes=(node,),
            timeout=settings.gateway_timeout_seconds,
            full_pass=settings.full_pass_seconds,
            key_prefix=settings.key_prefix,
            admin_key=settings.gateway_admin_key.get_secret_value(),
            drift=settings.drift_seconds,
        ),
    )


def _from_file(path: Path, settings: Settings, variables: Mapping[str, str]) -> tuple[Target, ...]:
    found = _read(path)
    seen: dict[str, str] = {}
    for gateway in found.gateways:
        for what, code in [("gateway", gateway.code), *(("node", node.code) for node in gateway.nodes)]:
            if (place := f"{what} {code}") in seen:
                raise GatewaysFileError(
                    f"{path}: {place!r} stands there twice; a usage line names its node by the code"
                )
            seen[place] = gateway.code
    made = []
    for gateway in found.gateways:
        key = variables.get(gateway.key_env, "")
        if not key:
            raise GatewaysFileError(
                f"{path}: the admin key of gateway {gateway.code!r} is to stand in the environment variable "
                f"{gateway.key_env}, which is not set"
            )
        nodes = tuple(
            Node(each.code, each.data_url, each.status_url, each.optional) for each in gateway.nodes
        )
        made.append(
            Target(
                code=gateway.code,
                admin_url=gateway.admin_url,
                nodes=nodes,
                timeout=gateway.timeout or settings.gateway_timeout_seconds,
                full_pass=gateway.full_pass or settings.full_pass_seconds,
                key_prefix=settings.key_prefix,
                admin_key=key,
                drift=settings.drift_seconds,
            )
        )
    return tuple(made)


def _read(path: Path) -> _File:
    try:
        document: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        raise GatewaysFileError(
            f"{path}: FAREBOX_GATEWAYS_FILE cannot be read: {error.strerror or error}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GatewaysFileError(f"{path}: this is no YAML: {' '.join(str(error).split())}") from None
    try:
        return _File.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(each) for each in first["loc"]) or "the file"
        raise GatewaysFileError(
            f"{path}: {where}: {first['msg']}. docs/sync.md shows the file's form."
        ) from None
