"""The swarm driver over a played manager: what it asks, again and again where it must, and what it makes of no."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reconciler.drivers import swarm
from reconciler.drivers.base import Cause, Registry, Site
from reconciler.drivers.labels import PREFIX
from reconciler.drivers.swarm import body, managers, reach, update
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.release import Artifact, Container, Rollout, Run, SecretName
from reconciler.model.target import Workload
from tests import build
from tests.drivers.played_swarm import PlayedSwarm
from tests.drivers.services import free_port

BARE = Run(port=8080, container=Container(networks=("backend",)))
"""Nothing of it is published: both sides fit."""
IMAGE = "registry.example/api@sha256:"
CAUSE = Cause("0123456789abcdef", "b" * 40)


def work(version: str = "1.0.0", *, run: Run | None = None, **pinned: Any) -> Workload:
    run = run or Run(port=8080, stop_grace_s=0.1, container=Container(publish="host"))
    image = Artifact(image=IMAGE + version[0] * 64)
    return build.work(version, of=build.release(version, artifact=image, run=run), **pinned)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedSwarm]:
    monkeypatch.setattr(managers, "CALL_S", 1)
    monkeypatch.setattr(managers, "RETRY_S", 0.01)
    monkeypatch.setattr(swarm, "PATIENCE_S", 5.0)
    monkeypatch.setattr(update, "STALL_S", 0.2)
    monkeypatch.setattr(update, "GONE_S", 0.2)
    monkeypatch.setattr(update, "CALM_S", 0.05)
    monkeypatch.setattr(body, "PAUSE_MIN_S", 0.1)
    made = PlayedSwarm(tmp_path / "s.sock")
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: Path, played: PlayedSwarm) -> Site:
    state = tmp_path / "state"
    state.mkdir()
    return Site(
        state=state,
        secret=lambda name, environment, service: f"{name} of {service} in {environment}",
        blob=lambda *_: b"",
        engine={"host": played.host, "networks": ["backend"]},
        registries={"registry.example": Registry("ugs", lambda: "hunter2")},
    )


def deploy(site: Site, one: Workload, cause: Cause = CAUSE, upto: int = 0) -> None:
    swarm.apply(site, cause, one, upto or one.instances)


def states(site: Site, service: str = "api") -> list[tuple[int, str, str]]:
    seen = swarm.observe(site, "production")[service]
    return [(one.index, str(one.target.version), one.state) for one in seen.instances]


def test_a_service_is_made_updated_and_made_as_it_was(site: Site, played: PlayedSwarm) -> None:
    old, new = work(instances=2), work("2.0.0", instances=2)
    deploy(site, old)
    assert states(site) == [(0, "1.0.0", "running"), (1, "1.0.0", "running")]
    deploy(site, new)
    assert states(site) == [(0, "2.0.0", "running"), (1, "2.0.0", "running")]
    swarm.restore(site, CAUSE, old, environment="production", service="api")
    assert states(site) == [(0, "1.0.0", "running"), (1, "1.0.0", "running")]
    assert [one["username"] for one in played.logins] == ["ugs"] * 3


def test_applied_again_on_another_account_replaces_no_instance(site: Site, played: PlayedSwarm) -> None:
    deploy(site, work())
    before = list(played.tasks)
    deploy(site, work(), Cause("another", "c" * 40))
    assert played.tasks == before
    assert played.service["Spec"]["Labels"][f"{PREFIX}operation"] == "another"


def test_instances_that_were_not_replaced_yet_run_on_through_a_restore(
    site: Site, played: PlayedSwarm
) -> None:
    old, new = work(instances=3), work("2.0.0", instances=3, strategy="rolling")
    deploy(site, old)
    first = [one["ID"] for one in played.tasks]
    played.moves = 1
    deploy(site, new)
    assert {version for _, version, state in states(site) if state == "starting"} == {"2.0.0"}
    played.moves = 1000
    swarm.restore(site, CAUSE, old, environment="production", service="api")
    assert states(site) == [(index, "1.0.0", "running") for index in range(3)]
    kept = [one["ID"] for one in played.tasks if one["DesiredState"] == "running" and one["ID"] in first]
    assert len(kept) == 2


def test_a_canary_replaces_so_many_and_no_more(site: Site, played: PlayedSwarm) -> None:
    deploy(site, work(instances=3))
    new = work("2.0.0", instances=3, strategy="canary", rollout=Rollout(canary=(1,)))
    deploy(site, new, upto=1)
    assert states(site) == [(0, "2.0.0", "running"), (1, "1.0.0", "running"), (2, "1.0.0", "running")]
    deploy(site, new, upto=3)
    assert states(site) == [(index, "2.0.0", "running") for index in range(3)]


def test_what_crashes_or_does_not_get_on_is_left_to_the_probes(site: Site, played: PlayedSwarm) -> None:
    played.state = "starting"
    deploy(site, work())
    assert states(site) == [(0, "1.0.0", "starting")]
    live = played.tasks.pop()
    spec = played.service["Spec"]
    for _ in range(2):
        played.task(1, spec, state="failed", wanted="shutdown", error="task: non-zero exit (1)")
    live["CreatedAt"] = played.task(1, spec)["CreatedAt"]
    deploy(site, work())
    assert states(site) == [(0, "1.0.0", "crashed")]


def test_what_no_node_can_run_is_the_swarms_trouble(site: Site, played: PlayedSwarm) -> None:
    played.state, played.error = "pending", "no suitable node (host-mode port already in use on 3 nodes)"
    with pytest.raises(HostError, match="instance 1 has no place: no suitable node"):
        deploy(site, work())


def test_an_update_that_swarm_stopped_is_resumed_a_few_times(site: Site, played: PlayedSwarm) -> None:
    deploy(site, work(instances=6))
    before = len(played.writes())
    played.moves, played.update = 1, "paused"
    deploy(site, work("2.0.0", instances=6, strategy="rolling"))
    assert len(played.writes()) - before == 1 + update.RESUMES_MAX
    assert "update paused" in {one.detail for one in swarm.observe(site, "production")["api"].instances}


def test_an_update_that_was_stopped_by_an_instance_that_does_not_run_is_not_resumed(
    site: Site, played: PlayedSwarm
) -> None:
    deploy(site, work(instances=3))
    before = len(played.writes())
    played.moves, played.update, played.state = 1, "paused", "starting"
    deploy(site, work("2.0.0", instances=3, strategy="rolling"))
    assert len(played.writes()) - before == 1


def test_a_service_that_swarm_wrote_to_meanwhile_is_written_again(site: Site, played: PlayedSwarm) -> None:
    deploy(site, work())
    played.refusals = [("update", 500, "rpc error: code = Unknown desc = update out of sequence")] * 2
    deploy(site, work("2.0.0"))
    assert states(site) == [(0, "2.0.0", "running")]
    played.refusals = [("update", 500, "update out of sequence")] * update.WRITES_MAX
    with pytest.raises(HostError, match="changed all the time by someone else"):
        deploy(site, work("3.0.0"))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, "someone else made the service production_api"),
        (
            {f"{PREFIX}site": "elsewhere", f"{PREFIX}environment": "shop", f"{PREFIX}service": "api"},
            "the service production_api is not ours: it is of the environment shop of another UGS (site elsewhere)",
        ),
    ],
)
def test_a_stranger_of_the_name_is_left_alone_until_a_person_adopts_it(
    site: Site, played: PlayedSwarm, labels: dict[str, str], said: str
) -> None:
    theirs = {
        "Name": "production_api",
        "Labels": labels,
        "TaskTemplate": {},
        "Mode": {"Replicated": {"Replicas": 1}},
    }
    played.services["theirs"] = {"ID": "theirs", "Version": {"Index": 3}, "Spec": theirs}
    assert swarm.observe(site, "production")["api"].foreign == said
    remedy = "remove it, or have it taken over: ugs adopt production api"
    with pytest.raises(HostError, match=re.escape(f"{said}; {remedy}")):
        deploy(site, work())
    assert played.writes() == []
    deploy(site, work(), msgspec.structs.replace(CAUSE, adopted=True))
    assert states(site) == [(0, "1.0.0", "running")]
    assert played.service["ID"] == "theirs"


def test_taking_away_ends_with_the_instances_gone_and_touches_only_ours(
    site: Site, played: PlayedSwarm
) -> None:
    swarm.restore(site, CAUSE, None, environment="production", service="api")
    deploy(site, work(run=Run(stop_grace_s=0.1)))
    left = played.tasks[0]
    with pytest.raises(HostError, match="1 instances of production_api do not end"):
        swarm.restore(site, CAUSE, None, environment="production", service="api")
    assert played.services == {}
    assert swarm.observe(site, "production") == {}
    left["Status"]["State"] = "shutdown"
    swarm.restore(site, CAUSE, None, environment="production", service="api")


def test_an_instance_of_a_removed_service_on_a_lost_node_is_not_waited_for(
    site: Site, played: PlayedSwarm
) -> None:
    deploy(site, work())
    played.nodes[0]["Status"]["State"] = "down"
    swarm.restore(site, CAUSE, None, environment="production", service="api")
    assert played.services == {}


QUORUM = "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are"


def test_without_a_leader_a_change_is_asked_for_again_and_a_look_says_so(
    site: Site, played: PlayedSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.refusals = [("services", 500, QUORUM)] * 3
    deploy(site, work())
    assert states(site) == [(0, "1.0.0", "running")]
    played.refusals = [("services", 500, QUORUM)]
    with pytest.raises(HostError, match=r"has no leader.*bring more of its managers back"):
        swarm.observe(site, "production")
    monkeypatch.setattr(swarm, "PATIENCE_S", 0.05)
    played.refusals = [("create", 500, QUORUM)] * 1000
    played.services.clear()
    with pytest.raises(managers.Unreachable, match=r"make the service production_api.*no leader"):
        deploy(site, work())


def test_a_call_that_hangs_ends_after_its_time(site: Site, played: PlayedSwarm) -> None:
    played.hangs = "GET /tasks"
    with pytest.raises(HostError, match="cannot list tasks"):
        swarm.observe(site, "production")


def test_an_engine_that_is_not_there_is_this_machines_trouble(site: Site, tmp_path: Path) -> None:
    gone = msgspec.structs.replace(site, engine={"host": f"unix://{tmp_path / 'none'}"})
    with pytest.raises(HostError, match=r"cannot reach the engine at unix:.*see that the engine runs"):
        swarm.observe(gone, "production")


def test_an_engine_outside_of_a_swarm_is_told(site: Site, played: PlayedSwarm) -> None:
    said = "This node is not a swarm manager. Use docker swarm init"
    played.refusals = [("services", 503, said)]
    with pytest.raises(HostError, match="no manager of a swarm; name one"):
        swarm.observe(site, "production")


def test_an_answer_that_is_none_is_no_bug_of_ours(site: Site, played: PlayedSwarm) -> None:
    played.nodes = [{"ID": 5}]
    deploy_to = work()
    with pytest.raises(HostError, match="its answer is not understood"):
        deploy(site, deploy_to)


@pytest.mark.parametrize(
    ("status", "said", "kind", "match"),
    [
        (404, "manifest unknown", ArtifactError, "registry.example has no registry.example/api@sha256:111"),
        (401, "unauthorized: authentication required", HostError, "correct `registries.registry.example`"),
        (500, "Get x: no basic auth credentials", HostError, "does not let us see"),
        (500, "dial tcp: connection refused", TransientError, "could not be asked"),
    ],
)
def test_an_image_that_cannot_be_had_is_told_by_whose_it_is_to_mend(
    site: Site, played: PlayedSwarm, status: int, said: str, kind: type[Exception], match: str
) -> None:
    played.refusals = [("distribution", status, said)]
    with pytest.raises(kind, match=match) as told:
        swarm.prepare(site, work(), "c" * 40)
    assert type(told.value) is kind
    assert swarm.restorable(site, work())
    swarm.prepare(site, work(), "c" * 40)
    assert swarm.restorable(site, work()) == ""
    assert {one["username"] for one in played.logins} == {"ugs"}


def test_secrets_are_kept_by_what_is_in_them_and_go_when_nothing_names_them(
    site: Site, played: PlayedSwarm
) -> None:
    run = Run(environment={"DB_PASSWORD": SecretName("db-password")})
    deploy(site, work(run=run))
    [first] = played.contents
    assert played.contents[first] == b"db-password of api in production"
    assert "db-password of" not in str(played.services)
    deploy(site, work("2.0.0", run=run))
    assert list(played.contents) == [first]
    rotated = msgspec.structs.replace(site, secret=lambda *_: "another")
    deploy(rotated, work("3.0.0", run=run))
    assert len(played.stored["secrets"]) == 2
    swarm.tidy(rotated, "production", "api", frozenset())
    [left] = played.stored["secrets"].values()
    assert played.contents[left["Spec"]["Name"]] == b"another"
    assert (site.state / "swarm.key").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_swarm_would_not_take_is_told(site: Site) -> None:
    large = msgspec.structs.replace(site, secret=lambda *_: "x" * 500_001)
    with pytest.raises(HostError, match="TOKEN of api is larger than Swarm takes"):
        deploy(large, work(run=Run(environment={"TOKEN": SecretName("token")})))


def test_what_is_no_more_kept_goes_and_what_runs_stays(site: Site, played: PlayedSwarm) -> None:
    old, new = work(), work("2.0.0")
    for one in (old, new):
        swarm.prepare(site, one, "c" * 40)
    deploy(site, new)
    swarm.tidy(site, "production", "api", frozenset())
    assert (swarm.restorable(site, old) != "", swarm.restorable(site, new)) == (True, "")


def test_each_instance_is_probed_where_it_runs(site: Site, played: PlayedSwarm) -> None:
    one = work(instances=2, port=80)
    hosts = [(spot.values["host"], spot.values["port"]) for spot in swarm.endpoints(site, one)]
    assert hosts == [("absent.invalid", "80")] * 2
    deploy(site, one)
    played.tasks[1]["NodeID"] = ""
    hosts = [(spot.values["host"], spot.values["port"]) for spot in swarm.endpoints(site, one)]
    assert hosts == [("10.214.0.1", "80"), ("absent.invalid", "80")]


def test_the_silence_of_an_instance_proves_nothing_where_its_node_is_silent_too(
    site: Site, played: PlayedSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.nodes[0]["Spec"]["Labels"] = {"ugs.address": "127.0.0.1"}
    port, gossip = free_port(), free_port()
    monkeypatch.setattr(reach, "GOSSIP_PORT", gossip)
    one = work(port=port)
    [absent] = swarm.endpoints(site, one)
    assert swarm.foreign_listener(site, one, absent) == ""
    deploy(site, one)
    [spot] = swarm.endpoints(site, one)
    assert swarm.foreign_listener(site, one, spot) == "the node 127.0.0.1 does not answer"
    for open_one in (gossip, port):
        with socket.create_server(("127.0.0.1", open_one)):
            assert swarm.foreign_listener(site, one, spot) == ""


def test_an_instance_without_a_published_port_is_probed_at_its_own_address(
    site: Site, played: PlayedSwarm
) -> None:
    one = work(run=Run(port=8080, container=Container(networks=("backend",))))
    deploy(site, one)
    played.tasks[0]["NetworksAttachments"] = [{"Addresses": ["10.0.1.7/24"]}]
    [spot] = swarm.endpoints(site, one)
    assert (spot.values["host"], spot.port) == ("10.0.1.7", 8080)


def test_logs_are_the_last_lines_of_all_instances(site: Site, played: PlayedSwarm) -> None:
    assert swarm.logs(site, "production", "api", lines=5) == []
    deploy(site, work())
    played.log = b"".join(b"\1\0\0\0\0\0\0" + bytes([len(line)]) + line for line in (b"one\n", b"two\n"))
    assert swarm.logs(site, "production", "api", lines=5) == ["one", "two"]
    assert swarm.logs(site, "production", "api", lines=1) == ["two"]


def test_commands_are_refused(site: Site) -> None:
    with pytest.raises(HostError, match="runs no commands"):
        swarm.surroundings(site, work())


def test_what_the_swarm_could_not_run_is_told_before_anything_is_touched(
    site: Site, played: PlayedSwarm
) -> None:
    swarm.preflight(site, work(instances=3))
    with pytest.raises(HostError, match="4 instances of api need a node each for port 8080, and 3 are ready"):
        swarm.preflight(site, work(instances=4))
    unpublished = Run(port=8080)
    swarm.preflight(site, work(instances=4, run=unpublished))
    played.history = 1
    with pytest.raises(HostError, match="docker swarm update --task-history-limit 5"):
        swarm.preflight(site, work())
    assert played.writes() == []


def test_a_network_must_be_allowed_and_there(site: Site, played: PlayedSwarm) -> None:
    with pytest.raises(
        HostError, match=r"secret is not allowed here; add secret to engines\.swarm\.networks"
    ):
        swarm.preflight(site, work(run=Run(container=Container(networks=("secret",)))))
    one = work(run=Run(container=Container(networks=("backend",))))
    swarm.preflight(site, one)
    played.networks[0]["Scope"] = "local"
    with pytest.raises(
        HostError, match="no network backend; make it: docker network create --driver overlay"
    ):
        swarm.preflight(site, one)


def test_a_port_on_all_nodes_that_another_service_has_is_told(site: Site, played: PlayedSwarm) -> None:
    open_to_all = msgspec.structs.replace(site, options={"publish": "ingress"})
    deploy(open_to_all, work())
    swarm.preflight(open_to_all, work("2.0.0"))
    played.service["Spec"]["Labels"] = {}
    with pytest.raises(HostError, match="port 8080 of api is taken by the service production_api"):
        swarm.preflight(open_to_all, work("2.0.0"))


def test_what_can_never_be_filled_in_or_is_not_granted_is_told_before_the_registry_is_asked(
    site: Site, played: PlayedSwarm
) -> None:
    with pytest.raises(ArtifactError, match="makes all instances alike"):
        swarm.prepare(site, work(run=Run(command=("serve", "{instance}"))), "c" * 40)

    def refuse(name: str, *_: str) -> str:
        raise HostError(f"{name} is not granted")

    bare = msgspec.structs.replace(site, secret=refuse)
    with pytest.raises(HostError, match="token is not granted"):
        swarm.prepare(bare, work(run=Run(environment={"TOKEN": SecretName("token")})), "c" * 40)
    assert played.asked == []


def test_a_loopback_port_is_nothing_that_swarm_has(site: Site) -> None:
    with pytest.raises(ArtifactError, match="no loopback that all instances share"):
        swarm.prepare(site, work(run=Run(port=80, container=Container(publish="loopback"))), "c" * 40)


def test_an_environment_that_was_renamed_finds_its_services_again(site: Site, played: PlayedSwarm) -> None:
    swarm.prepare(site, work(), "c" * 40)
    deploy(site, work())
    swarm.rename(site, "production", "live")
    assert [str(one.target) for one in swarm.observe(site, "live")["api"].instances] == [str(work().target)]
    moved = msgspec.structs.replace(work(), environment="live")
    before = list(played.tasks)
    deploy(site, moved)
    assert played.service["Spec"]["Name"] == "production_api"
    assert played.service["Spec"]["Labels"][f"{PREFIX}environment"] == "live"
    assert played.tasks != before  # UGS_ENVIRONMENT is another for it


def names(played: PlayedSwarm) -> list[str]:
    return sorted(one["Spec"]["Name"] for one in played.services.values())


def alive(played: PlayedSwarm) -> list[str]:
    return [one["ID"] for one in played.tasks if one["DesiredState"] == "running"]


def test_the_new_side_is_a_service_of_its_own_and_the_old_one_runs_on_until_it_is_proven(
    site: Site, played: PlayedSwarm
) -> None:
    played.ends = True
    old, new, third = (
        work(version, run=BARE, strategy="blue-green") for version in ("1.0.0", "2.0.0", "3.0.0")
    )
    deploy(site, old)
    was = alive(played)
    for _ in range(2):  # killed and begun again
        deploy(site, new)
        assert names(played) == ["production_api", "production_api_green"]
        assert sorted(states(site)) == [(0, "1.0.0", "running"), (0, "2.0.0", "running")]
    assert alive(played)[0] == was[0]
    assert [len(swarm.endpoints(site, one)) for one in (old, new)] == [1, 1]
    assert {one["Spec"]["TaskTemplate"]["Networks"][0]["Aliases"][0] for one in played.services.values()} == {
        "api"
    }
    for _ in range(2):
        swarm.settle(site, new)
        assert (names(played), states(site)) == (["production_api_green"], [(0, "2.0.0", "running")])
    deploy(site, third)
    swarm.restore(site, CAUSE, new, environment="production", service="api")
    assert (names(played), states(site)) == (["production_api_green"], [(0, "2.0.0", "running")])
    deploy(site, third)
    swarm.settle(site, third)
    assert (names(played), states(site)) == (["production_api"], [(0, "3.0.0", "running")])


def test_a_side_that_was_given_up_makes_room_and_one_that_is_gone_comes_back_in_place(
    site: Site, played: PlayedSwarm
) -> None:
    played.ends = True
    old, given_up, new = (
        work(version, run=BARE, strategy="blue-green") for version in ("1.0.0", "2.0.0", "3.0.0")
    )
    for one in (old, given_up, new):
        deploy(site, one)
    assert sorted(states(site)) == [(0, "1.0.0", "running"), (0, "3.0.0", "running")]
    swarm.settle(site, new)
    swarm.restore(site, CAUSE, old, environment="production", service="api")
    assert (names(played), states(site)) == (["production_api_green"], [(0, "1.0.0", "running")])
    deploy(site, new)
    deploy(site, work("4.0.0", run=BARE))  # stop-start: nothing else runs on
    assert len(names(played)) == 1
    assert states(site) == [(0, "4.0.0", "running")]
    swarm.restore(site, CAUSE, None, environment="production", service="api")
    assert names(played) == []


def test_a_second_side_keeps_clear_of_a_stranger_of_its_name(site: Site, played: PlayedSwarm) -> None:
    old, new = (work(version, run=BARE, strategy="blue-green") for version in ("1.0.0", "2.0.0"))
    deploy(site, old)
    theirs = json.loads(json.dumps(played.service["Spec"])) | {"Name": "production_api_green", "Labels": {}}
    played.services["theirs"] = {"ID": "theirs", "Version": {"Index": 1}, "Spec": theirs}
    with pytest.raises(HostError, match="someone else made the service production_api_green"):
        deploy(site, new)
    assert states(site) == [(0, "1.0.0", "running")]
