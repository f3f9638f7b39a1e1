"""The planner: it brings any gateway to any desired state, and touches nothing that is not ours."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.model_gateway import ModelGateway

from farebox_gateway import resources
from farebox_gateway.planner import Hindrance, Why, plan
from farebox_gateway.resources import Kind, Observed, Ref, Resource

NAMES = st.sampled_from(["a", "b", "c"])
CONF = st.fixed_dictionaries(
    {}, optional={"state": st.sampled_from(["active", "suspended"]), "limits": st.just([])}
)
CONFS = st.dictionaries(st.sampled_from(["farebox-auth", "farebox-limit"]), CONF)


@st.composite
def states(draw: st.DrawFn, *, revision: int) -> list[Resource]:
    """A desired state whose references hold."""
    upstreams = draw(st.sets(NAMES))
    groups = draw(st.sets(NAMES))
    found: list[Resource] = [
        resources.upstream(name, nodes={"127.0.0.1:80": draw(st.integers(0, 3))}, revision=revision)
        for name in upstreams
    ]
    found += [resources.consumer_group(name, plugins=draw(CONFS), revision=revision) for name in groups]
    for name in draw(st.sets(NAMES)) if upstreams else ():
        target = draw(st.sampled_from(sorted(upstreams)))
        found.append(
            resources.route(name, uris=["/x"], plugins=draw(CONFS), upstream_id=target, revision=revision)
        )
    for name in draw(st.sets(NAMES)):
        group = draw(st.sampled_from([None, *sorted(groups)]))
        found.append(resources.consumer(name, plugins=draw(CONFS), group=group, revision=revision))
        found += [
            resources.credential(name, key, plugins=draw(CONFS), revision=revision)
            for key in draw(st.sets(NAMES))
        ]
    return found


def standing(state: list[Resource]) -> list[Observed]:
    """The state as a gateway would show it."""
    model = ModelGateway()
    model.apply(plan(state, []))
    return model.observed()


def foreign(kind: Kind, name: str, consumer: str = "", **body: Any) -> Observed:
    """An object that somebody else put there."""
    return Observed(Ref(kind, name, consumer), {"plugins": {}, **body})


@given(before=states(revision=1), after=states(revision=2))
def test_a_plan_applied_leaves_nothing_to_do(before: list[Resource], after: list[Resource]) -> None:
    """One plan leads from any state of ours to any other, every step allowed; the next plan is empty."""
    model = ModelGateway(standing(before))
    model.apply(plan(after, model.observed()))
    again = plan(after, model.observed())
    assert again.settled
    assert again.steps == ()
    assert set(model.objects) == {resource.ref for resource in after}


@given(before=states(revision=1), after=states(revision=2), names=st.sets(NAMES, min_size=1))
def test_what_is_not_ours_is_never_touched(
    before: list[Resource], after: list[Resource], names: set[str]
) -> None:
    """Objects without our label survive every plan unchanged, even where one of ours should stand."""
    others = [foreign(Kind.ROUTE, f"their-{name}", uris=["/theirs"]) for name in names]
    others += [foreign(Kind.UPSTREAM, name, nodes={"10.0.0.1:1": 1}) for name in names]
    others += [foreign(Kind.CONSUMER, name, username=name) for name in names]
    taken = {found.ref for found in others}
    mine = [
        found
        for found in standing(before)
        if found.ref not in taken and Ref(Kind.CONSUMER, found.ref.consumer) not in taken
    ]
    model = ModelGateway([*mine, *others])
    made = plan(after, model.observed())
    assert not {step.ref for step in made.steps} & taken
    model.apply(made)
    for found in others:
        assert model.objects[found.ref] == found.body
    in_the_way = {conflict.ref for conflict in made.conflicts}
    assert in_the_way == {resource.ref for resource in after} & taken
    assert set(made.foreign) == taken - in_the_way


def test_defaults_and_stamps_of_the_gateway_are_no_difference() -> None:
    """What a gateway fills in by itself, and Lua's one empty table, never cause a write."""
    wanted = resources.route("r", uris=["/a"], plugins={"farebox-limit": {}}, upstream_id="u", revision=3)
    shown = {
        **wanted.body,
        "plugins": {"farebox-limit": []},
        "priority": 0,
        "status": 1,
        "create_time": 1,
        "update_time": 2,
    }
    assert plan([wanted], [Observed(wanted.ref, shown)]).settled


def test_defaults_inside_a_foreign_plugin_come_from_its_schema() -> None:
    """A stock plugin's defaults are merged by the schema that the gateway shows, nested members included."""
    schema = {
        "properties": {
            "policy": {"type": "string", "default": "local"},
            "rules": {"type": "array", "items": {"properties": {"weight": {"default": 1}}}},
        }
    }
    wanted = resources.route("r", uris=["/a"], plugins={"stock": {"rules": [{"key": "k"}]}}, revision=1)
    shown = {**wanted.body, "plugins": {"stock": {"rules": [{"key": "k", "weight": 1}], "policy": "local"}}}
    assert plan([wanted], [Observed(wanted.ref, shown)], plugin_schemas={"stock": schema}).settled
    assert not plan([wanted], [Observed(wanted.ref, shown)]).settled


def test_an_older_snapshot_never_overwrites_a_newer_consumer() -> None:
    """A consumer at the gateway with a higher revision than ours is left alone with its credentials."""
    newer = standing([resources.consumer("a", plugins={}, revision=7)])
    old = [
        resources.consumer("a", plugins={"farebox-auth": {"state": "active"}}, revision=6),
        resources.credential("a", "revoked", plugins={}, revision=6),
    ]
    made = plan(old, newer)
    assert made.steps == ()
    assert [conflict.hindrance for conflict in made.conflicts] == [Hindrance.AHEAD]
    assert [step.ref.id for step in plan(old, newer, overwrite_newer=True).steps] == ["a", "revoked"]


def test_a_change_by_others_is_told_from_a_change_of_ours() -> None:
    """The same revision with other content was changed by others; another revision is merely outdated."""
    wanted = resources.consumer("a", plugins={"farebox-auth": {"state": "active"}}, revision=4, period=10)
    tampered = Observed(wanted.ref, {**wanted.body, "plugins": {"farebox-auth": {"state": "suspended"}}})
    older = resources.consumer("a", plugins={}, revision=3, period=10)
    last_month = resources.consumer("a", plugins={}, revision=4, period=9)
    assert plan([wanted], [tampered]).steps[0].why is Why.CHANGED
    assert plan([wanted], [tampered]).steps[0].fields == ("plugins",)
    assert plan([wanted], [Observed(older.ref, older.body)]).steps[0].why is Why.OUTDATED
    assert plan([wanted], [Observed(last_month.ref, last_month.body)]).steps[0].why is Why.OUTDATED


def test_a_consumer_that_holds_foreign_credentials_is_not_deleted() -> None:
    """Deleting a consumer takes its credentials with it, so one that holds others' stays and is reported."""
    mine = standing([resources.consumer("a", plugins={}, revision=1)])
    made = plan([], [*mine, foreign(Kind.CREDENTIAL, "theirs", "a")])
    assert made.steps == ()
    assert [conflict.hindrance for conflict in made.conflicts] == [Hindrance.HOLDS_FOREIGN]


def test_a_step_reads_as_a_sentence() -> None:
    """People decide by the printed plan: verb, place and reason stand in each line."""
    made = plan([resources.upstream("u", nodes={"h:1": 1}, revision=1)], [])
    assert [str(step) for step in made.steps] == ["put    upstreams/u  (missing)"]
