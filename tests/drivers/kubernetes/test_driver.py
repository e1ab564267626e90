"""The Kubernetes driver against a stand-in for the API server: what it does, and what it makes of the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.kubernetes import change, marks
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.release import (
    Artifact,
    Run,
    SecretName,
)
from tests.drivers.kubernetes.api_server import ApiServer
from tests.drivers.kubernetes.shop import API, CAUSE, IMAGE, pod, rolled, stranger, work


def test_what_was_applied_runs_once_its_pods_are_ready(shop: Site, server: ApiServer) -> None:
    one = work()
    driver.apply(shop, CAUSE, one, 1)
    [first] = driver.observe(shop, "production")["api"].instances
    assert (first.state, first.target) == ("starting", one.target)
    rolled(server)
    pod(server, one)
    [running] = driver.observe(shop, "production")["api"].instances
    assert (running.state, running.index, running.drift) == ("running", 0, "")
    [endpoint] = driver.endpoints(shop, one)
    assert (endpoint.port, endpoint.values["host"], endpoint.index) == (8080, "10.0.0.1", 0)
    assert driver.observe(shop, "staging")["api"].foreign.endswith("it is of the environment production")


def test_the_old_version_comes_back_as_it_was_and_an_initial_one_goes(shop: Site, server: ApiServer) -> None:
    old, new = work(), work("1.1.0")
    driver.apply(shop, CAUSE, old, 1)
    template = json.dumps(server.objects[API]["spec"]["template"])
    driver.apply(shop, Cause("op-2"), new, 1)
    assert driver.restorable(shop, old) == ""
    driver.restore(shop, Cause("op-3"), old, environment="production", service="api")
    assert json.dumps(server.objects[API]["spec"]["template"]) == template
    driver.restore(shop, Cause("op-4"), None, environment="production", service="api")
    assert API not in server.objects
    [deleted] = server.sent("DELETE")
    assert deleted.body["propagationPolicy"] == "Foreground"
    assert "uid" in deleted.body["preconditions"]
    driver.restore(shop, Cause("op-4"), None, environment="production", service="api")


def test_what_goes_slowly_is_looked_at_again(
    shop: Site, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "ENDING_MARGIN_S", 0.05)
    monkeypatch.setattr(change, "LOOK_S", 0.01)
    driver.apply(shop, CAUSE, work(), 1)
    monkeypatch.setattr(server, "drop", lambda _path: None)
    with pytest.raises(TransientError, match="the Deployment api in shop is still being ended"):
        driver.restore(shop, CAUSE, None, environment="production", service="api")


def test_nothing_is_applied_to_what_is_being_ended(shop: Site, server: ApiServer) -> None:
    driver.apply(shop, CAUSE, work(), 1)
    server.objects[API]["metadata"]["deletionTimestamp"] = "2026-11-03T12:00:00Z"
    with pytest.raises(TransientError, match="still being ended"):
        driver.apply(shop, CAUSE, work("1.1.0"), 1)


def test_what_is_not_ours_is_told_and_left_alone_until_a_person_adopts_it(
    shop: Site, server: ApiServer
) -> None:
    stranger(server)
    assert driver.observe(shop, "production")["api"].foreign == "the Deployment api is not ours: helm made it"
    assert driver.observe(shop, "production")["api"].instances == ()
    driver.preflight(shop, work())
    with pytest.raises(HostError, match="helm made it; let it be taken over with `ugs adopt`"):
        driver.apply(shop, CAUSE, work(), 1)
    assert server.sent("PATCH") == []
    driver.apply(shop, Cause("op-1", adopted=True), work(), 1)
    merge, apply = server.sent("PATCH")
    assert merge.body["metadata"]["managedFields"][0]["manager"] == "ugs"
    assert merge.body["metadata"]["resourceVersion"]
    template = apply.body["spec"]["template"]
    assert apply.body["spec"]["selector"]["matchLabels"] == {"app": "api"}
    assert template["metadata"]["labels"]["app"] == "api"
    assert template["spec"]["containers"][0]["name"] == "theirs"


def test_a_change_by_hand_is_drift_and_the_next_apply_takes_it_back(shop: Site, server: ApiServer) -> None:
    one = work()
    driver.apply(shop, CAUSE, one, 1)
    rolled(server)
    found = server.objects[API]
    hand = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    found["metadata"]["managedFields"].append(hand)
    pod(server, one)
    [drifted] = driver.observe(shop, "production")["api"].instances
    assert drifted.drift == "kubectl-edit set spec.paused"
    driver.apply(shop, CAUSE, one, 1)
    merge = server.sent("PATCH")[1]
    [entry] = merge.body["metadata"]["managedFields"]
    assert entry["fieldsV1"]["f:spec"] == {"f:replicas": {}, "f:paused": {}}


def test_who_owns_what_the_release_sets_is_named(shop: Site, server: ApiServer) -> None:
    cause = {
        "reason": "FieldManagerConflict",
        "field": ".spec.replicas",
        "message": 'conflict with "hpa" using apps/v1',
    }
    server.refuse("PATCH /deployments/", 409, "conflict", details={"causes": [cause]})
    with pytest.raises(HostError, match=r'sets: .spec.replicas: conflict with "hpa"'):
        driver.preflight(shop, work())
    with pytest.raises(HostError, match="Deployment api: somebody else owns what the release sets"):
        driver.apply(shop, CAUSE, work(), 1)
    cause["message"] = 'conflict with "kubectl-edit" using apps/v1'
    server.refuse("PATCH /deployments/", 409, "conflict", details={"causes": [cause]})
    with pytest.raises(HostError, match="somebody else owns"):
        driver.preflight(shop, work())
    assert [one.query["force"] for one in server.sent("PATCH")] == ["false", "false", "false", "true"]


def test_a_change_that_another_one_came_before_is_begun_anew_so_many_times(
    shop: Site, server: ApiServer
) -> None:
    server.refuse("PATCH /deployments/", 409, "the object has been modified")
    with pytest.raises(HostError, match="the object has been modified; see who changes it"):
        driver.apply(shop, CAUSE, work(), 1)
    assert len(server.sent("PATCH")) == change.TRIES


def test_before_anything_is_touched_the_server_judges_it(shop: Site, server: ApiServer) -> None:
    driver.preflight(shop, work())
    [asked] = server.sent("PATCH")
    assert asked.query["dryRun"] == "All"
    assert API not in server.objects
    server.refuse("PATCH /deployments/", 422, "spec.template: Invalid value")
    with pytest.raises(ArtifactError, match="Invalid value"):
        driver.preflight(shop, work())


def test_a_release_needs_an_image_and_runs_no_commands_here(shop: Site) -> None:
    driver.prepare(shop, work(), "f" * 40)
    with pytest.raises(ArtifactError, match="the kubernetes driver needs an image"):
        driver.prepare(shop, work(artifact=Artifact()), "f" * 40)
    with pytest.raises(HostError, match="runs no commands"):
        driver.surroundings(shop, work())


def test_what_no_kept_target_needs_is_cleared_away(shop: Site, server: ApiServer) -> None:
    run = Run(port=8080, environment={"DB": SecretName("db-password")})
    old, new = (
        work(run=run),
        work("1.1.0", run=run, artifact=Artifact(image=IMAGE.replace("a" * 64, "b" * 64))),
    )
    driver.apply(shop, CAUSE, old, 1)
    [name] = [path for path in server.objects if "/secrets/" in path]
    driver.tidy(shop, "production", "api", frozenset())
    assert name in server.objects  # its template names it
    driver.apply(structs.replace(shop, secret=lambda *_: "another"), CAUSE, new, 1)
    driver.tidy(shop, "production", "api", frozenset({str(old.target)}))
    assert name in server.objects
    driver.tidy(shop, "production", "api", frozenset())
    assert [path for path in server.objects if "/secrets/" in path] != [name]
    assert name not in server.objects


def test_a_renamed_environment_keeps_its_pods(shop: Site, server: ApiServer) -> None:
    one = work(run=Run(port=8080, environment={"DB": SecretName("db-password")}))
    driver.apply(shop, CAUSE, one, 1)
    rolled(server)
    pod(server, one)
    template = json.dumps(server.objects[API]["spec"]["template"])
    (shop.state / "services" / "production").mkdir(parents=True)
    driver.rename(shop, "production", "prod")
    assert json.dumps(server.objects[API]["spec"]["template"]) == template
    assert driver.observe(shop, "prod")["api"].running == one.target
    assert {
        found["metadata"]["labels"][marks.ENVIRONMENT]
        for path, found in server.objects.items()
        if "/pods/" not in path
    } == {"prod"}


def test_an_api_server_that_is_gone_is_said_and_says_nothing_of_the_services(
    shop: Site, server: ApiServer
) -> None:
    driver.observe(shop, "production")
    server.refuse("GET ", 500, "etcd is gone")
    with pytest.raises(TransientError, match="etcd is gone"):
        driver.observe(shop, "production")


def test_a_kubeconfig_that_was_changed_is_read_again(shop: Site, server: ApiServer) -> None:
    driver.observe(shop, "production")
    server.token = "another"
    file = Path(shop.engine["kubeconfig"])
    file.write_text(file.read_text().replace("secret-token", "another"))
    driver.observe(shop, "production")
    file.unlink()
    with pytest.raises(HostError, match="cannot read the kubeconfig"):
        driver.observe(shop, "production")


def test_what_is_being_removed_meanwhile_needs_no_new_name(shop: Site, server: ApiServer) -> None:
    driver.apply(shop, CAUSE, work(run=Run(environment={"DB": SecretName("db-password")})), 1)
    server.refuse("PATCH /secrets/", 404, "not found")
    driver.rename(shop, "production", "prod")
    assert server.objects[API]["metadata"]["labels"][marks.ENVIRONMENT] == "prod"
