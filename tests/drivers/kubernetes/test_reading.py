"""What pods, workloads and the server's account of fields are read as."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reconciler.drivers.kubernetes import fields, marks, pods, rollout
from reconciler.drivers.kubernetes.objects import Managed, Pod, Workload
from reconciler.model.observation import Instance
from reconciler.model.target import Target
from reconciler.model.version import Version

OLD, NEW = Target(Version("1.0.0"), "0" * 12), Target(Version("1.1.0"), "1" * 12)
RUNNING = {"running": {"startedAt": "2026-11-03T12:00:00Z"}}


def meta_of(target: Target) -> dict[str, Any]:
    labels = {
        marks.SERVICE: "api",
        marks.TARGET: target.digest,
        marks.SITE: "s",
        marks.ENVIRONMENT: "production",
    }
    return {"labels": labels, "annotations": {marks.VERSION: str(target.version)}}


def pod(
    name: str = "api-x",
    target: Target = NEW,
    *,
    state: dict[str, Any] = RUNNING,
    ready: bool = True,
    conditions: dict[str, tuple[str, str]] | None = None,
    **more: Any,
) -> pods.Seen:
    container = {"name": "api", "ready": ready, "state": state, **more.pop("container", {})}
    said = {"Ready": ("True" if ready else "False", "")} if conditions is None else conditions
    status = {
        "phase": more.pop("phase", "Running"),
        "podIP": "10.0.0.1",
        "containerStatuses": more.pop("containers", [container]),
        "conditions": [{"type": kind, "status": flag, "message": why} for kind, (flag, why) in said.items()],
        **more.pop("status", {}),
    }
    meta = {"name": name, "uid": name, "creationTimestamp": "2026-11-03T12:00:00Z", **meta_of(target)}
    found = {"metadata": meta | more.pop("meta", {}), "spec": {"nodeName": "node1"}, "status": status}
    return pods.seen(msgspec.convert(found, Pod), more.pop("before", None))


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def test_a_pod_runs_when_all_of_it_is_ready() -> None:
    assert (pod().state, pod().detail, pod().ip) == ("running", "", "10.0.0.1")


@pytest.mark.parametrize(
    ("seen", "state", "detail"),
    [
        (pod(state=waiting("ContainerCreating"), ready=False, phase="Pending"), "starting", "being started"),
        (pod(ready=False), "starting", "container api runs and is not ready yet"),
        (pod(containers=[], ready=False, conditions={"PodScheduled": ("False", "0/3 nodes")}), "starting", "0/3 nodes"),
        (pod(conditions={"Ready": ("False", "no word from it")}), "starting", "node node1 does not answer"),
        (pod(state=waiting("CreateContainerConfigError", "no secret"), ready=False), "starting", "no secret"),
        (pod(state=waiting("ErrImagePull", "i/o timeout"), ready=False), "starting", "i/o timeout"),
        (pod(state=waiting("ErrImagePull", "denied, or does not exist"), ready=False), "starting", "denied"),
        (pod(state=waiting("ImagePullBackOff", "Back-off pulling"), ready=False), "starting", "Back-off"),
        (pod(state=waiting("ErrImagePull", "manifest unknown"), ready=False), "crashed", "does not exist"),
        (pod(state=waiting("RunContainerError", "no such file"), ready=False), "crashed", "can never start"),
        (pod(state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, ready=False), "crashed", "OOMKilled"),
        (pod(state=waiting("CrashLoopBackOff"), ready=False), "crashed", "again and again"),
    ],
)  # fmt: skip
def test_what_a_pod_says_of_itself_is_the_state_of_an_instance(
    seen: pods.Seen, state: str, detail: str
) -> None:
    assert seen.state == state
    assert detail in seen.detail


def test_a_container_that_is_started_again_and_again_has_crashed_with_its_code() -> None:
    last = {"lastState": {"terminated": {"exitCode": 3}}, "restartCount": 4}
    seen = pod(state=waiting("CrashLoopBackOff"), ready=False, container=last)
    assert seen.detail == "container api ended with code 3, 4 restarts (CrashLoopBackOff)"


def test_why_an_image_was_not_pulled_is_remembered_while_the_kubelet_only_says_that_it_tries_again() -> None:
    first = pod(state=waiting("ErrImagePull", "x: not found"), ready=False)
    later = pod(state=waiting("ImagePullBackOff", "Back-off pulling image"), ready=False, before=first)
    assert later.state == "crashed"
    assert "x: not found" in later.detail


def test_a_preparing_container_that_has_done_its_work_is_no_crash() -> None:
    done = {"initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 0}}}]}
    failed = {"initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 1}}}]}
    assert pod(status=done).state == "running"
    assert pod(ready=False, status=failed).detail == "container init ended with code 1"


def test_a_pod_that_is_being_ended_or_was_evicted_counts_no_more() -> None:
    assert pod(meta={"deletionTimestamp": "2026-11-03T12:00:00Z"}).gone
    assert pod(phase="Failed").gone


def held(kind: rollout.Kind = "Deployment", target: Target = NEW, **more: Any) -> rollout.Held:
    meta = {"name": "api", "uid": "u", "generation": 2, **meta_of(target), **more.pop("meta", {})}
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {marks.SERVICE: "api"}},
        "template": {"metadata": meta_of(target)},
        **more.pop("spec", {}),
    }
    whole = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    status = {"observedGeneration": 2, **whole, **more.pop("status", {})}
    return rollout.held(kind, msgspec.convert({"metadata": meta, "spec": spec, "status": status}, Workload))


def told(one: rollout.Held, *found: pods.Seen) -> list[tuple[int, str, str]]:
    return [_told(each) for each in rollout.observation(one, found).instances]


def _told(one: Instance) -> tuple[int, str, str]:
    return one.index, str(one.target.version), one.state


def test_a_rollout_that_is_complete_runs() -> None:
    assert told(held(), pod("a"), pod("b")) == [(0, "1.1.0", "running"), (1, "1.1.0", "running")]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"observedGeneration": 1}, "its controller has not seen generation 2 yet"),
        ({"updatedReplicas": 1}, "1 of 2 pods are of the new template"),
        ({"replicas": 3}, "1 old pods have not ended yet"),
        ({"availableReplicas": 1}, "1 of 2 pods are available"),
    ],
)
def test_until_the_rollout_is_complete_its_last_instance_is_starting(
    status: dict[str, int], why: str
) -> None:
    [first, last] = rollout.observation(held(status=status), [pod("a"), pod("b")]).instances
    assert (first.state, last.state, last.detail) == ("running", "starting", why)


def test_pods_that_are_not_there_yet_are_starting_beside_what_still_runs() -> None:
    waits = held(status={"updatedReplicas": 0})
    assert told(waits, pod("old", OLD)) == [
        (0, "1.0.0", "running"), (0, "1.1.0", "starting"), (1, "1.1.0", "starting"),
    ]  # fmt: skip


def test_a_quota_is_why_pods_are_not_there() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}
    seen = rollout.observation(held(status={"updatedReplicas": 0, "conditions": [refused]}), [])
    assert seen.instances[0].detail == "exceeded quota: q"


def test_what_is_not_ready_within_the_progress_deadline_has_failed() -> None:
    stalled = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    late = held(status={"availableReplicas": 1, "conditions": [stalled]})
    [ill, well] = rollout.observation(late, [pod("a", ready=False), pod("b")]).instances
    assert (ill.state, well.state) == ("crashed", "running")
    assert ill.detail == "container api runs and is not ready yet, within the progress deadline: timed out"
    lost = pod("a", conditions={"Ready": ("False", "")})
    assert rollout.observation(late, [lost]).instances[0].state == "starting"


def test_a_paused_rollout_is_told() -> None:
    [_, last] = rollout.observation(held(spec={"paused": True}), [pod("a"), pod("b")]).instances
    assert last.detail == "its rollout is paused"


def test_a_stateful_set_replaces_its_highest_pod_first_and_waits_at_its_partition() -> None:
    spec = {"updateStrategy": {"rollingUpdate": {"partition": 1}}}
    status = {"updatedReplicas": 1, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "b"}
    canary = held("StatefulSet", spec=spec, status=status)
    assert told(canary, pod("api-0", OLD), pod("api-1")) == [(1, "1.0.0", "running"), (0, "1.1.0", "running")]
    whole = held("StatefulSet", status=status)
    assert (1, "1.1.0", "starting") in told(whole, pod("api-0", OLD), pod("api-1"))
    assert rollout.places(canary, NEW, [pod("api-1"), pod("api-7")]).keys() == {0, 7}


def test_a_daemon_set_is_one_instance_as_well_as_its_worst_pod() -> None:
    numbers = {
        "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2,
    }  # fmt: skip
    whole = held("DaemonSet", status=numbers)
    assert told(whole, pod("a"), pod("b")) == [(0, "1.1.0", "running")]
    assert told(whole, pod("a", ready=False), pod("b")) == [(0, "1.1.0", "starting")]
    behind = held("DaemonSet", status=numbers | {"updatedNumberScheduled": 1})
    assert told(behind, pod("a"), pod("b")) == [(0, "1.1.0", "starting")]
    assert told(behind) == [(0, "1.1.0", "starting")]
    assert told(behind, pod("a", OLD)) == [(0, "1.0.0", "running"), (0, "1.1.0", "starting")]


def test_what_is_being_removed_has_only_the_pods_that_are_left() -> None:
    leaving = held(meta={"deletionTimestamp": "2026-11-03T12:00:00Z"})
    assert told(leaving) == []
    assert told(leaving, pod("a")) == [(0, "1.1.0", "running")]


def managed(manager: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": spec}, **more}


MINE = managed("ugs", {"f:replicas": {}}, operation="Apply")
CONTAINER: dict[str, Any] = {
    "f:template": {"f:spec": {"f:containers": {'k:{"name":"api"}': {".": {}, "f:image": {}}}}}
}


def entries(*raw: dict[str, Any]) -> list[Managed]:
    return msgspec.convert(raw, list[Managed])


def test_what_others_have_set_under_spec_is_drift_and_names_them() -> None:
    said = fields.drift(
        entries(MINE, managed("kubectl-edit", CONTAINER), managed("kubectl", {"f:replicas": {}}))
    )
    assert said == "kubectl-edit set spec.template.spec.containers[api].image; kubectl set spec.replicas"
    many: dict[str, Any] = {f"f:{name}": {} for name in "abcde"}
    assert fields.drift(entries(managed("", many))) == "somebody set spec.a, spec.b, spec.c and 2 more"
    odd: dict[str, Any] = {
        'k:{"containerPort":80,"protocol":"TCP"}': {"f:hostPort": {}},
        'v:"x"': {},
        "k:{": {".": {}, "f:a": {}},
    }
    assert "spec[containerPort=80,protocol=TCP].hostPort" in fields.drift(entries(managed("m", odd)))


def test_a_status_a_restart_by_hand_and_our_own_fields_are_no_drift() -> None:
    restarted: dict[str, Any] = {
        "f:template": {"f:metadata": {"f:annotations": {".": {}, fields.HARMLESS: {}}}}
    }
    status = managed("scaler", {"f:replicas": {}}, subresource="status")
    controller = {"manager": "controller", "operation": "Update", "fieldsV1": {"f:status": {}}}
    assert fields.drift(entries(MINE, managed("kubectl-rollout", restarted), status, controller)) == ""


def test_a_scale_that_the_server_keeps_no_account_of_is_drift() -> None:
    scaled = held(meta={"annotations": {marks.VERSION: "1.1.0", marks.INSTANCES: "3"}})
    assert scaled.drift == "somebody set spec.replicas to 2, not 3"
    accounted = {marks.VERSION: "1.1.0", marks.INSTANCES: "3"}
    by_name = held(meta={"annotations": accounted, "managedFields": [managed("kubectl", {"f:replicas": {}})]})
    assert by_name.drift == "kubectl set spec.replicas"
    both = held(meta={"annotations": accounted, "managedFields": [managed("kubectl", {"f:paused": {}})]})
    assert both.drift == "kubectl set spec.paused; somebody set spec.replicas to 2, not 3"


def test_what_gives_way_becomes_ours_and_the_rest_stays_with_its_owner() -> None:
    hand = managed("kubectl-edit", CONTAINER)
    hand["fieldsV1"]["f:metadata"] = {"f:labels": {}}
    scaler = managed("scaler", {"f:replicas": {}})
    taken = fields.taken_over([MINE, hand, scaler], lambda manager: manager.startswith("kubectl"))
    [kept, other, mine] = taken
    assert kept == hand | {"fieldsV1": {"f:metadata": {"f:labels": {}}}}
    assert other == scaler
    assert mine["fieldsV1"] == {"f:spec": {"f:replicas": {}, **CONTAINER}}
    assert mine["manager"] == "ugs"


def test_nothing_is_taken_over_where_nobody_gives_way_and_an_object_without_us_gets_us() -> None:
    theirs = [managed("helm", CONTAINER)]
    assert fields.taken_over(theirs, lambda _: False) is theirs
    [ours] = fields.taken_over(theirs, lambda _: True)
    assert (ours["manager"], ours["operation"], ours["fieldsV1"]) == ("ugs", "Apply", {"f:spec": CONTAINER})


def test_whose_a_foreign_workload_is_stands_in_the_sentence() -> None:
    plain = held(meta={"labels": {}, "managedFields": [managed("helm", CONTAINER)]})
    assert rollout.foreign(plain, "s") == "the Deployment api is not ours: helm made it"
    ours = {marks.MANAGED_BY: "ugs", marks.SITE: "other", marks.ENVIRONMENT: "staging"}
    said = rollout.foreign(held(meta={"labels": ours}), "s")
    assert (
        said == "the Deployment api is not ours: it is of the environment staging of another UGS (site other)"
    )


def test_labels_are_what_kubernetes_takes_as_such() -> None:
    assert marks.label("1.0.0+build/7") == "1.0.0-build-7"
    assert len(marks.label("x" * 100)) == 63
    wrong = {"metadata": {"labels": {marks.TARGET: "1" * 12}, "annotations": {marks.VERSION: "no"}}}
    assert marks.target_of(msgspec.convert(wrong, Pod).metadata) is None
