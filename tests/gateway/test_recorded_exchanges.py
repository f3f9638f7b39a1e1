"""The recorded exchanges, replayed: this gateway answers our requests as the recorded gateway did."""

import json
from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.gateway.harness import Gateway, Upstream
from tests.gateway.recorded import FOLDER, Performer
from tests.gateway.scenarios import SCENARIOS


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
async def test_the_same_answers(
    gateway: Gateway, client: ClientSession, upstream: Upstream, path: Path
) -> None:
    """Status, headers and body of each answer are the recorded ones, but for what `recorded.normal` names."""
    performer = Performer(gateway, client, upstream)
    differing = []
    try:
        for number, exchange in enumerate(json.loads(path.read_text())["exchanges"], 1):
            found = await performer.perform(exchange["request"])
            if found != exchange["answer"]:
                request = exchange["request"]
                asked = f"{number}. {request['method']} {request['path']} {json.dumps(request.get('body'))}"
                differing.append(f"{asked}\n  recorded {exchange['answer']}\n  found    {found}")
    finally:
        await performer.clean()
    assert not differing, "\n" + "\n".join(differing)


def test_every_scenario_is_recorded_as_it_stands() -> None:
    """A scenario that was changed, or added, has to be recorded anew; each recording names its gateway."""
    for name, steps in SCENARIOS.items():
        recording = json.loads((FOLDER / f"{name}.json").read_text())
        assert recording["gateway"].startswith("Apache APISIX 3."), name
        assert [one["request"] for one in recording["exchanges"]] == [step.as_data() for step in steps], name
