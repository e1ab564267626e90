"""What the swarm driver asks for, and how it reads what a manager answers: values in, values out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.labels import PREFIX, labels_of
from reconciler.drivers.mark import site_id
from reconciler.drivers.swarm.body import Before, Given, Spec, order_of, spec_of, update_config
from reconciler.drivers.swarm.fingerprint import MADE, changed, fingerprint
from reconciler.drivers.swarm.options import Layout, layout_of, name_of
from reconciler.drivers.swarm.slots import (
    UPTO,
    crashed,
    instances_of,
    observations,
    refused,
    slots_of,
    unplaced,
)
from reconciler.drivers.swarm.wire import Node, Service, Task
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.observation import Instance
from reconciler.model.release import Artifact, Container, Mount, Rollout, Run, SecretName
from reconciler.model.target import Workload
from tests import build

IMAGE = "registry.example/api@sha256:" + "0" * 64
CAUSE = Cause("0123456789abcdef", "b" * 40)
SITE = Site(state=Path("/var/lib/ugs"), secret=lambda *_: "hunter2", blob=lambda *_: b"")
BEGAN = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


def work(version: str = "1.0.0", *, run: Run | None = None, **pinned: Any) -> Workload:
    run = run or Run(port=8080, container=Container(publish="host"))
    return build.work(version, of=build.release(version, artifact=Artifact(image=IMAGE), run=run), **pinned)


def spec(one: Workload, upto: int | None = None, **how: Any) -> Spec:
    given, before = how.pop("given", Given()), how.pop("before", Before())
    layout = how.pop("layout", None) or Layout(**how)
    upto = one.instances if upto is None else upto
    return spec_of(SITE, CAUSE, one, upto, layout=layout, given=given, before=before)


def container(one: Workload, **how: Any) -> Any:
    return spec(one, **how)["TaskTemplate"]["ContainerSpec"]


class Played:
    """A service, whose tasks a test writes down in the order of time."""

    def __init__(self, now: Workload, **fields: Any) -> None:
        self.spec, self.fields, self.tasks = spec(now), fields, list[Task]()

    def task(
        self,
        of: Workload,
        state: str,
        *,
        slot: int = 1,
        wanted: str = "",
        error: str = "",
        code: int = 0,
        node: int = 1,
    ) -> None:
        at = BEGAN + timedelta(seconds=len(self.tasks))
        ended = state in {"failed", "complete", "rejected", "shutdown"}
        self.tasks.append(
            msgspec.convert(
                {
                    "ID": f"task-{len(self.tasks)}",
                    "CreatedAt": at,
                    "ServiceID": "service-1",
                    "Slot": slot,
                    "NodeID": f"node-{node}",
                    "DesiredState": wanted or ("shutdown" if ended else "running"),
                    "Status": {
                        "State": state,
                        "Err": error,
                        "Timestamp": at,
                        "ContainerStatus": {"ExitCode": code},
                    },
                    "Spec": {"ContainerSpec": {"Labels": labels_of(SITE, CAUSE, of)}},
                },
                Task,
            )
        )

    @property
    def service(self) -> Service:
        said = {"ID": "service-1", "Version": {"Index": 7}, "Spec": self.spec} | self.fields
        return msgspec.convert(said, Service)

    @property
    def instances(self) -> list[tuple[int, str, str]]:
        return [(one.index, str(one.target.version), one.state) for one in self.read]

    @property
    def read(self) -> tuple[Instance, ...]:
        return instances_of(self.service, self.tasks)


def node(number: int, **fields: Any) -> Node:
    said = {
        "ID": f"node-{number}",
        "Spec": {"Availability": "active"},
        "Description": {"Hostname": f"sw{number}"},
    }
    return msgspec.convert(said | {"Status": {"State": "ready", "Addr": f"10.0.0.{number}"}} | fields, Node)


def test_a_service_carries_our_labels_on_itself_and_on_its_instances() -> None:
    made = spec(work(instances=2))
    wanted = {
        f"{PREFIX}site": site_id(SITE.state),
        f"{PREFIX}environment": "production",
        f"{PREFIX}service": "api",
        f"{PREFIX}version": "1.0.0",
        f"{PREFIX}target": work(instances=2).target.digest,
        f"{PREFIX}operation": CAUSE.operation,
        f"{PREFIX}revision": CAUSE.revision,
    }
    assert made["TaskTemplate"]["ContainerSpec"]["Labels"] == wanted
    assert made["Labels"].items() >= wanted.items()
    assert made["Name"] == "production_api"
    assert made["Mode"] == {"Replicated": {"Replicas": 2}}
    assert made["TaskTemplate"]["ContainerSpec"]["Image"] == IMAGE


@pytest.mark.parametrize(
    ("strategy", "rollout", "upto", "parallelism", "delay_s"),
    [
        ("stop-start", Rollout(), 4, 0, 0),
        ("rolling", Rollout(), 4, 1, 5),
        ("rolling", Rollout(batch="50%", pause_s=90.0), 4, 2, 90),
        ("canary", Rollout(canary=(1, "75%")), 1, 1, 24 * 3600 + 1),
        ("canary", Rollout(canary=(1, "75%")), 3, 2, 24 * 3600 + 3),
        ("canary", Rollout(canary=(1, "75%")), 4, 0, 0),
    ],
)
def test_the_update_follows_the_strategy_and_never_rolls_back_by_itself(
    strategy: Any, rollout: Rollout, upto: int, parallelism: int, delay_s: int
) -> None:
    said = update_config(work(instances=4, strategy=strategy, rollout=rollout), upto, Layout())
    assert (said["Parallelism"], said["Delay"]) == (parallelism, delay_s * 1_000_000_000)
    assert said["FailureAction"] == "pause"
    assert said["Monitor"] == max(5, rollout.pause_s) * 1_000_000_000


def test_a_step_of_a_canary_leaves_the_number_of_instances_until_the_last() -> None:
    one = work(instances=4, strategy="canary", rollout=Rollout(canary=(1,)))
    replicas = [
        spec(one, upto, before=Before(replicas=before))["Mode"]["Replicated"]["Replicas"]
        for upto, before in ((1, 3), (1, 0), (4, 3))
    ]
    assert replicas == [3, 1, 4]


@pytest.mark.parametrize(
    ("strategy", "own", "layout", "order"),
    [
        ("stop-start", Container(), Layout(order="start-first"), "stop-first"),
        ("rolling", Container(), Layout(), "start-first"),
        ("rolling", Container(publish="host"), Layout(), "stop-first"),
        ("rolling", Container(publish="host"), Layout(publish="ingress"), "start-first"),
        ("rolling", Container(mounts=(Mount("/data", volume="data"),)), Layout(), "stop-first"),
        ("rolling", Container(publish="host"), Layout(order="start-first"), "start-first"),
    ],
)
def test_the_new_instance_goes_first_where_both_fit(
    strategy: Any, own: Container, layout: Layout, order: str
) -> None:
    assert order_of(work(run=Run(port=80, container=own), strategy=strategy), layout) == order


def test_a_port_of_the_pin_leads_to_the_one_of_the_release() -> None:
    said = spec(work(port=80))["EndpointSpec"]
    port = {"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 80, "PublishMode": "host"}
    assert said == {"Mode": "vip", "Ports": [port]}
    said = spec(work(), publish="ingress", balance="dns")["EndpointSpec"]
    assert (said["Mode"], said["Ports"][0]["PublishMode"]) == ("dnsrr", "ingress")
    assert spec(work(run=Run(port=8080)))["EndpointSpec"]["Ports"] == []


def test_secrets_are_files_that_variables_name_and_values_arrive_as_they_stand() -> None:
    run = Run(
        command=("serve", "{port}"),
        port=8080,
        environment={"GREETING": "{{hello}} {port}", "DB_PASSWORD": SecretName("db-password")},
    )
    named = ("ugs_name", "id-1")
    made = container(work(run=run), given=Given(secrets={"DB_PASSWORD": named}))
    assert made["Args"] == ["serve", "8080"]
    assert made["Env"] == [
        "DB_PASSWORD_FILE=/run/secrets/DB_PASSWORD",
        'GREETING={{"{{"}}hello}} 8080',
        "UGS_ENVIRONMENT=production",
        "UGS_INSTANCE={{.Task.Slot}}",
        "UGS_SERVICE=api",
        "UGS_VERSION=1.0.0",
    ]
    [secret] = made["Secrets"]
    assert (secret["SecretName"], secret["SecretID"], secret["File"]["Name"]) == (*named, "DB_PASSWORD")


def test_a_config_stands_where_the_image_has_its_template() -> None:
    given = Given(configs={"etc/api.toml": ("name", "id-1")}, modes={"etc/api.toml": (7, 8, 0o640)})
    [config] = container(work(), given=given)["Configs"]
    assert config == {
        "File": {"Name": "/etc/api.toml", "UID": "7", "GID": "8", "Mode": 0o640},
        "ConfigID": "id-1",
        "ConfigName": "name",
    }


def test_what_a_container_may_use_is_said_in_swarms_words() -> None:
    own = Container(
        mounts=(Mount("/data", volume="data"), Mount("/in", path="/srv/in", read_only=True)),
        tmpfs={"/tmp": "1MiB"},
        read_only=True,
        user="1000",
        memory="2MiB",
        cpus=0.5,
        pids=10,
        capabilities=("CHOWN",),
        healthcheck="off",
        labels={"team": "a"},
    )
    made = spec(work(run=Run(container=own)))
    assert made["TaskTemplate"]["Resources"]["Limits"] == {
        "Pids": 10,
        "MemoryBytes": 2 << 20,
        "NanoCPUs": 500_000_000,
    }
    inner = made["TaskTemplate"]["ContainerSpec"]
    assert inner["Mounts"] == [
        {"Type": "volume", "Source": "production_data", "Target": "/data", "ReadOnly": False},
        {"Type": "bind", "Source": "/srv/in", "Target": "/in", "ReadOnly": True},
        {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 1 << 20}},
    ]
    assert (inner["User"], inner["ReadOnly"], inner["Healthcheck"]) == ("1000", True, {"Test": ["NONE"]})
    assert (inner["CapabilityDrop"], inner["CapabilityAdd"]) == (["ALL"], ["CAP_CHOWN"])
    assert made["Labels"]["team"] == inner["Labels"]["team"] == "a"


def test_networks_are_joined_by_id_under_the_services_name() -> None:
    site = msgspec.structs.replace(
        SITE,
        options={"network": "backend", "publish": "ingress", "services": {"api": {"publish": "host"}}},
    )
    layout = layout_of(site, work())
    assert layout == Layout(networks=("backend",))
    made = spec(work(), layout=layout, given=Given(networks={"backend": "id-1"}))
    assert made["TaskTemplate"]["Networks"] == [{"Target": "id-1", "Aliases": ["api"]}]


@pytest.mark.parametrize("name", ["instance", "host"])
def test_what_differs_from_instance_to_instance_cannot_be_filled_in(name: str) -> None:
    with pytest.raises(ArtifactError, match="makes all instances alike; read UGS_INSTANCE"):
        spec(work(run=Run(command=("serve", f"{{{name}}}"))))


@pytest.mark.parametrize(("environment", "service"), [("e" * 40, "s" * 40), ("production", "api-")])
def test_a_name_that_swarm_does_not_take_is_refused(environment: str, service: str) -> None:
    with pytest.raises(HostError, match="shorter name"):
        name_of(environment, service)


def test_instances_of_a_target_that_runs_keep_their_labels_and_what_someone_forced() -> None:
    """Other labels, or another count of forced updates, would be other instances to Swarm."""
    before = Before("old_api", 2, forced=3, labels={"made": "earlier"})
    made = spec(work(instances=2), before=before)
    assert made["Name"] == "old_api"
    assert made["TaskTemplate"]["ForceUpdate"] == 3
    assert made["TaskTemplate"]["ContainerSpec"]["Labels"] == {"made": "earlier"}
    assert made["Labels"][f"{PREFIX}operation"] == CAUSE.operation


def test_a_service_as_it_was_made_has_no_drift_however_an_engine_fills_it_in() -> None:
    made = spec(work())
    read = msgspec.json.decode(msgspec.json.encode(made))
    read["TaskTemplate"]["RestartPolicy"]["MaxAttempts"] = 0
    read["TaskTemplate"]["ContainerSpec"]["Env"].reverse()
    read["TaskTemplate"]["ContainerSpec"]["NewInSomeVersion"] = "default"
    del read["TaskTemplate"]["Placement"], read["TaskTemplate"]["Networks"]
    assert changed(read, read["Labels"][MADE]) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made["Mode"]["Replicated"].update(Replicas=5), "replicas"),
        (lambda made: made["Mode"]["Replicated"].update(Replicas=0), "replicas"),
        (lambda made: made["TaskTemplate"]["ContainerSpec"].update(Image="another"), "image"),
        (lambda made: made["TaskTemplate"]["ContainerSpec"]["Env"].append("A=b"), "environment"),
        (
            lambda made: made["TaskTemplate"]["Placement"].update(Constraints=["node.role==worker"]),
            "placement",
        ),
        (lambda made: made["TaskTemplate"]["ContainerSpec"].update(Hosts=["10.0.0.1 db"]), "hosts"),
        (lambda made: made["EndpointSpec"].update(Ports=[]), "ports"),
    ],
)
def test_what_someone_changed_by_hand_is_named(change: Any, said: str) -> None:
    played = Played(work())
    played.task(work(), "running")
    change(played.spec)
    assert [one.drift for one in played.read] == [f"changed by hand: {said}"]


def test_a_fingerprint_that_someone_damaged_is_drift_too() -> None:
    assert changed(spec(work()), "nonsense") == "labels"
    assert changed(spec(work()), fingerprint(spec(work(instances=2)))) == "replicas"


def test_running_is_what_the_tasks_say() -> None:
    played = Played(work(instances=2))
    played.task(work("0.9.0"), "shutdown")
    played.task(work(instances=2), "running")
    played.task(work(instances=2), "running", slot=4)
    assert played.instances == [(0, "1.0.0", "running"), (1, "1.0.0", "running")]
    assert played.read[0].started_at == BEGAN + timedelta(seconds=1)


@pytest.mark.parametrize("state", ["new", "pending", "assigned", "preparing", "ready", "starting"])
def test_what_swarm_is_still_at_is_starting(state: str) -> None:
    played = Played(work())
    played.task(work(), state, error="no suitable node" if state == "pending" else "")
    assert played.instances == [(0, "1.0.0", "starting")]


def test_what_swarm_is_stopping_is_no_instance_any_more() -> None:
    played = Played(work())
    played.task(work("0.9.0"), "running", wanted="shutdown")
    played.task(work(), "starting", wanted="ready")
    assert played.instances == [(0, "1.0.0", "starting")]


def test_one_end_may_be_its_nodes_and_the_second_is_a_crash() -> None:
    played = Played(work())
    played.task(work(), "failed", error="task: non-zero exit (255)", code=255)
    played.task(work(), "starting")
    assert played.instances == [(0, "1.0.0", "starting")]
    played.tasks.pop()
    played.task(work(), "complete", error="bye")
    played.task(work(), "ready")
    assert played.instances == [(0, "1.0.0", "crashed")]
    assert crashed(slots_of(played.service, played.tasks, work().target), work().target)
    played.task(work(), "running")
    assert played.instances == [(0, "1.0.0", "running")]
    assert played.read[0].detail == "it ended with exit code 0: bye (started again)"


def test_ends_of_another_time_are_no_crash_of_what_is_brought_back() -> None:
    played = Played(work())
    for _ in range(3):
        played.task(work(), "failed", code=1)
    played.task(work("2.0.0"), "failed", code=1)
    played.task(work(), "starting")
    assert played.instances == [(0, "1.0.0", "starting")]


def test_an_instance_on_a_lost_node_is_not_counted_and_its_place_is_starting() -> None:
    played = Played(work())
    played.task(work(), "running", wanted="shutdown", node=3)
    played.task(work(), "pending", error="no suitable node (1 node not available for new tasks)")
    assert played.instances == [(0, "1.0.0", "starting")]
    lost = {"node-1": node(1), "node-3": node(3, Status={"State": "down"})}
    slots = slots_of(played.service, played.tasks, work().target)
    assert unplaced(slots, work().target, lost) == ""
    whole = {"node-1": node(1), "node-3": node(3)}
    assert unplaced(slots, work().target, whole).startswith("instance 1 has no place: no suitable node")


@pytest.mark.parametrize(
    ("state", "error"),
    [("rejected", "No such image: x"), ("failed", "starting container failed: port is already allocated")],
)
def test_what_no_container_could_do_on_a_node_is_no_crash(state: str, error: str) -> None:
    played = Played(work())
    for _ in range(3):
        played.task(work(), state, error=error)
    played.task(work(), "assigned")
    assert played.instances == [(0, "1.0.0", "starting")]
    slots = slots_of(played.service, played.tasks, work().target)
    assert refused(slots, work().target, {"node-1": node(1)}) == f"sw1 cannot run it: {error}"


def test_instances_whose_turn_is_to_come_are_starting_and_those_that_were_replaced_come_first() -> None:
    old, new = work("0.9.0", instances=3), work(instances=3, strategy="rolling")
    played = Played(new, UpdateStatus={"State": "updating"})
    played.task(old, "running", slot=1)
    played.task(old, "running", slot=2)
    played.task(new, "running", slot=3)
    assert played.instances == [
        (0, "1.0.0", "running"),
        (1, "0.9.0", "running"),
        (1, "1.0.0", "starting"),
        (2, "0.9.0", "running"),
        (2, "1.0.0", "starting"),
    ]
    assert {one.detail for one in played.read if one.state == "starting"} == {
        "its turn in the update has not come"
    }


def test_beyond_a_step_of_a_canary_the_old_instances_are_all_there_is() -> None:
    old, new = work("0.9.0", instances=2), work(instances=2, strategy="canary")
    played = Played(new)
    played.spec["Labels"][UPTO] = "1"
    played.task(old, "running", slot=1)
    played.task(new, "running", slot=2)
    assert played.instances == [(0, "1.0.0", "running"), (1, "0.9.0", "running")]


def test_ours_is_what_has_our_labels_and_a_stranger_of_the_name_is_told() -> None:
    ours, theirs, stranger = Played(work()), Played(work()), Played(work())
    ours.task(work(), "running")
    theirs.spec["Labels"][f"{PREFIX}site"] = "another"
    stranger.spec["Labels"] = {}
    stranger.spec["Name"] = "production_web"
    site = site_id(SITE.state)
    services = [stranger.service, theirs.service, ours.service]
    seen = observations(site, "production", {"production"}, services, ours.tasks)
    assert set(seen) == {"api", "web"}
    assert [one.state for one in seen["api"].instances] == ["running"]
    assert (seen["web"].instances, seen["web"].foreign) == (
        (),
        "someone else made the service production_web",
    )
    assert observations(site, "staging", {"staging"}, services, ours.tasks) == {}
    assert set(observations(site, "live", {"live", "production"}, services, ours.tasks)) == {"api"}


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({}, "10.0.0.1"),
        ({"Spec": {"Labels": {"ugs.address": "192.0.2.7"}}}, "192.0.2.7"),
        ({"Status": {"Addr": "0.0.0.0"}, "ManagerStatus": {"Addr": "192.0.2.9:2377"}}, "192.0.2.9"),
        ({"Status": {"Addr": "127.0.0.1"}, "ManagerStatus": {"Addr": "[2001:db8::7]:2377"}}, "2001:db8::7"),
        ({"Status": {"Addr": "127.0.0.1"}, "ManagerStatus": {"Addr": "0.0.0.0:2377"}}, "127.0.0.1"),
        ({"Status": {"Addr": ""}}, ""),
    ],
)
def test_a_node_is_reached_where_its_label_or_the_others_say(fields: Any, host: str) -> None:
    assert node(1, **fields).host == host
