"""Two Deployments of one service: blue-green behind a Service that is turned, and the steps of a canary."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.kubernetes import front, marks, sides
from reconciler.model.errors import HostError, TransientError
from reconciler.model.release import Artifact, Rollout, Run
from reconciler.model.target import Workload
from tests.drivers.kubernetes.api_server import ApiServer
from tests.drivers.kubernetes.shop import API, APPS, CAUSE, CORE, IMAGE, pod, rolled, stranger, work
from tests.drivers.kubernetes.test_manifest import MANIFEST, with_manifest

SERVICE = f"{CORE}/services/api"
OTHER = Artifact(image=IMAGE.replace("a" * 64, "b" * 64))
"""Without it all versions are the same but for their numbers, and have the same digest."""


@pytest.fixture(autouse=True)
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody ends pods here, and nobody routes."""
    monkeypatch.setattr(sides, "ENDING_S", 0.0)
    monkeypatch.setattr(front, "TURN_S", 0.0)


def blue_green(version: str = "1.0.0", **fields: Any) -> Workload:
    return work(version, strategy="blue-green", **fields)


def deployments(server: ApiServer) -> dict[str, int]:
    """Replicas by name."""
    return {
        path.rpartition("/")[2]: found["spec"]["replicas"]
        for path, found in server.objects.items()
        if path.startswith(f"{APPS}/deployments/")
    }


def leads_to(server: ApiServer) -> dict[str, str]:
    selector: dict[str, str] = server.objects[SERVICE]["spec"]["selector"]
    return selector


def only(one: Workload, colour: str = "") -> dict[str, str]:
    side = {marks.COLOUR: colour} if colour else {}
    return {marks.SERVICE: "api", marks.TARGET: one.target.digest} | side


def run(site: Site, server: ApiServer, one: Workload, name: str) -> None:
    """Apply it, and let it come up under that name."""
    driver.preflight(site, one)
    driver.apply(site, CAUSE, one, one.instances)
    rolled(server, name)
    for index in range(one.instances):
        pod(server, one, f"{name}-{index}", of=name)


def restore(site: Site, good: Workload | None) -> None:
    driver.restore(site, Cause("op-3"), good, environment="production", service="api")


def drift(site: Site) -> str:
    return driver.observe(site, "production")["api"].instances[0].drift


def test_the_service_leads_to_the_old_side_until_the_new_one_is_proven(shop: Site, server: ApiServer) -> None:
    old, new, third = blue_green(), blue_green("1.1.0"), blue_green("1.2.0")
    run(shop, server, old, "api-blue")
    driver.settle(shop, old)
    assert leads_to(server) == only(old, "blue")
    assert server.objects[SERVICE]["spec"]["ports"][0]["port"] == 8080
    for _ in range(2):  # killed and begun again
        run(shop, server, new, "api-green")
        assert deployments(server) == {"api-blue": 1, "api-green": 1}
        assert leads_to(server) == only(old, "blue")
    seen = driver.observe(shop, "production")["api"]
    assert {(str(one.target.version), one.state) for one in seen.instances} == {
        ("1.0.0", "running"),
        ("1.1.0", "running"),
    }
    assert len(driver.endpoints(shop, new)) == len(driver.endpoints(shop, old)) == 1
    for _ in range(2):
        driver.settle(shop, new)
        assert deployments(server) == {"api-green": 1}
        assert leads_to(server) == only(new, "green")
    run(shop, server, third, "api-blue")
    assert leads_to(server) == only(new, "green")


def test_what_fails_beside_the_old_side_goes_and_the_old_one_was_never_touched(
    shop: Site, server: ApiServer
) -> None:
    old, bad = blue_green(), blue_green("1.1.0")
    run(shop, server, old, "api-blue")
    was = server.objects[f"{APPS}/deployments/api-blue"]["spec"]
    driver.apply(shop, CAUSE, bad, 1)
    restore(shop, old)
    assert deployments(server) == {"api-blue": 1}
    assert server.objects[f"{APPS}/deployments/api-blue"]["spec"] == was
    assert leads_to(server) == only(old, "blue")


def test_killed_between_the_turn_and_the_end_of_the_old_side_it_can_go_either_way(
    shop: Site, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = blue_green(), blue_green("1.1.0")
    run(shop, server, old, "api-blue")
    run(shop, server, new, "api-green")
    with monkeypatch.context() as killed:
        killed.setattr(sides, "end", lambda *_: None)
        driver.settle(shop, new)
    assert (leads_to(server), len(deployments(server))) == (only(new, "green"), 2)
    driver.apply(shop, CAUSE, new, 1)  # as a repair would: what it leads to is proven
    assert leads_to(server) == only(new, "green")
    restore(shop, old)
    assert (leads_to(server), deployments(server)) == (only(old, "blue"), {"api-blue": 1})


def test_where_the_old_side_is_gone_it_comes_back_in_the_place_of_the_other(
    shop: Site, server: ApiServer
) -> None:
    old, new = blue_green(), blue_green("1.1.0")
    run(shop, server, old, "api-blue")
    run(shop, server, new, "api-green")
    driver.settle(shop, new)
    restore(shop, old)
    assert deployments(server) == {"api-green": 1}
    template = server.objects[f"{APPS}/deployments/api-green"]["spec"]["template"]
    assert template["metadata"]["labels"][marks.TARGET] == old.target.digest
    assert leads_to(server) == {marks.SERVICE: "api"}  # to whichever is ready
    restore(shop, None)
    assert not [path for path in server.objects if "/deployments/" in path or "/services/" in path]


def test_a_service_that_was_there_before_keeps_its_deployment_until_the_first_side_is_proven(
    shop: Site, server: ApiServer
) -> None:
    old, new = work(), blue_green("1.1.0", instances=2, artifact=OTHER)
    run(shop, server, old, "api")
    assert SERVICE not in server.objects
    driver.settle(shop, old)
    run(shop, server, new, "api-blue")
    assert (leads_to(server), deployments(server)) == (only(old), {"api": 1, "api-blue": 2})
    assert server.objects[f"{APPS}/deployments/api-blue"]["spec"]["selector"]["matchLabels"] == {
        marks.SERVICE: "api",
        marks.COLOUR: "blue",
    }
    # The old one's selector fits both sides' pods; each is counted where it is.
    assert sorted(str(one.target.version) for one in driver.observe(shop, "production")["api"].instances) == [
        "1.0.0",
        "1.1.0",
        "1.1.0",
    ]
    driver.settle(shop, new)
    assert (leads_to(server), deployments(server)) == (only(new, "blue"), {"api-blue": 2})


def test_other_strategies_go_on_in_the_side_that_is_there_behind_the_same_service(
    shop: Site, server: ApiServer
) -> None:
    old, rolling, again = blue_green(), work("1.1.0", strategy="rolling"), blue_green("1.2.0")
    run(shop, server, old, "api-blue")
    run(shop, server, rolling, "api-blue")
    driver.settle(shop, rolling)
    assert (leads_to(server), deployments(server)) == ({marks.SERVICE: "api"}, {"api-blue": 1})
    driver.apply(shop, CAUSE, again, 1)
    assert leads_to(server) == only(rolling, "blue")
    driver.apply(shop, CAUSE, work("1.3.0"), 1)  # stop-start
    assert (leads_to(server), deployments(server)) == ({marks.SERVICE: "api"}, {"api-blue": 1})


def test_a_target_that_was_given_up_makes_room_for_the_next(shop: Site, server: ApiServer) -> None:
    old, given_up, new = blue_green(), blue_green("1.1.0"), blue_green("1.2.0")
    run(shop, server, old, "api-blue")
    run(shop, server, given_up, "api-green")
    run(shop, server, new, "api-green")
    assert (leads_to(server), len(deployments(server))) == (only(old, "blue"), 2)
    driver.settle(shop, new)
    assert deployments(server) == {"api-green": 1}


def test_a_service_without_a_port_is_side_by_side_and_no_more(shop: Site, server: ApiServer) -> None:
    old, new = (blue_green(version, run=Run()) for version in ("1.0.0", "1.1.0"))
    run(shop, server, old, "api-blue")
    run(shop, server, new, "api-green")
    driver.settle(shop, new)
    assert deployments(server) == {"api-green": 1}
    assert [one.path for one in server.asked if "/services" in one.path] == []


def test_what_somebody_turned_or_removed_is_drift_and_is_turned_back(shop: Site, server: ApiServer) -> None:
    one = blue_green()
    run(shop, server, one, "api-blue")
    assert drift(shop) == ""
    hand = server.objects[SERVICE]
    hand["spec"]["selector"] = {marks.SERVICE: "web", "more": "1"}
    server.put(SERVICE, hand)
    assert drift(shop) == "somebody set spec.selector of the Service api: more=1, ugs/service=web"
    driver.apply(shop, CAUSE, one, 1)
    assert (drift(shop), leads_to(server)) == ("", only(one, "blue"))
    server.drop(SERVICE)
    assert drift(shop) == "somebody removed the Service api, or its labels"
    driver.apply(shop, CAUSE, one, 1)
    assert (drift(shop), leads_to(server)) == ("", only(one, "blue"))


def test_a_service_that_is_not_ours_is_left_alone_until_it_is_handed_over(
    shop: Site, server: ApiServer
) -> None:
    one, entry = blue_green(), {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {}}}
    theirs = {"selector": {"app": "api"}, "ports": [{"port": 80, "targetPort": 8080}]}
    server.put(SERVICE, {"metadata": {"generation": 1, "managedFields": [entry]}, "spec": theirs})
    for refuses in (driver.preflight, lambda site, work: driver.apply(site, CAUSE, work, 1)):
        with pytest.raises(HostError, match="the Service api in shop is not ours: helm made it") as refused:
            refuses(shop, one)
        assert "label service api ugs/environment=production ugs/service=api" in refused.value.remedy
    assert (server.objects[SERVICE]["spec"], deployments(server)) == (theirs, {})
    server.objects[SERVICE]["metadata"]["labels"] = {marks.ENVIRONMENT: "production", marks.SERVICE: "api"}
    run(shop, server, one, "api-blue")
    assert leads_to(server) == only(one, "blue")
    assert server.objects[SERVICE]["spec"]["ports"] == theirs["ports"]
    restore(shop, None)
    assert SERVICE in server.objects
    assert deployments(server) == {}


def test_names_that_somebody_else_has_are_kept_clear_of(shop: Site, server: ApiServer) -> None:
    old, new = blue_green(), blue_green("1.1.0")
    run(shop, server, old, "api-blue")
    green, blue = f"{APPS}/deployments/api-green", f"{APPS}/deployments/api-blue"
    theirs = {"metadata": {"generation": 1}, "spec": {"selector": {}, "template": {"spec": {}}}}
    server.put(green, theirs)
    gone = json.loads(json.dumps(server.objects[blue]))
    gone["metadata"]["deletionTimestamp"] = "2026-11-03T12:00:00Z"
    with pytest.raises(HostError, match="both names are taken: api-blue and api-green"):
        driver.preflight(shop, new)
    server.drop(green)
    run(shop, server, new, "api-green")
    driver.settle(shop, new)
    server.put(blue, gone)
    with pytest.raises(TransientError, match="api-blue in shop is still being ended"):
        driver.apply(shop, CAUSE, blue_green("1.2.0"), 1)
    called_so = structs.replace(work(), service="api-green")
    with pytest.raises(HostError, match="the Deployment api-green is a side of the service api"):
        driver.apply(shop, CAUSE, called_so, 1)


def test_a_stranger_that_was_adopted_is_the_first_side(shop: Site, server: ApiServer) -> None:
    stranger(server)
    one = blue_green()
    with pytest.raises(HostError, match="ugs adopt"):
        driver.apply(shop, CAUSE, one, 1)
    assert SERVICE not in server.objects
    driver.apply(shop, Cause("op-1", adopted=True), one, 1)
    assert (deployments(server), leads_to(server)) == ({"api": 1}, only(one))


def test_a_renamed_environment_keeps_both_sides_and_the_service(shop: Site, server: ApiServer) -> None:
    old, new = blue_green(), blue_green("1.1.0")
    run(shop, server, old, "api-blue")
    run(shop, server, new, "api-green")
    driver.rename(shop, "production", "prod")
    assert server.objects[SERVICE]["metadata"]["labels"][marks.ENVIRONMENT] == "prod"
    assert leads_to(server) == only(old, "blue")
    assert {one.drift for one in driver.observe(shop, "prod")["api"].instances} == {""}


def test_a_canary_takes_from_the_old_side_what_was_proven_before(shop: Site, server: ApiServer) -> None:
    old = work(instances=4)
    new = work("1.1.0", instances=4, strategy="canary", rollout=Rollout(canary=(1, "50%"), pause_s=60.0))
    run(shop, server, old, "api")
    was = server.objects[API]["spec"]
    driver.preflight(shop, new)
    for upto, left in ((1, 4), (1, 4), (2, 3), (4, 2)):
        driver.apply(shop, CAUSE, new, upto)
        assert deployments(server) == {"api": left, "api-blue": upto}
        assert server.objects[API]["metadata"]["annotations"][marks.INSTANCES] == str(left)
        assert drift(shop) == ""
    assert server.objects[f"{APPS}/deployments/api-blue"]["spec"]["minReadySeconds"] == 0
    driver.restore(shop, Cause("op-3"), old, environment="production", service="api")
    assert (deployments(server), server.objects[API]["spec"]) == ({"api": 4}, was)
    driver.apply(shop, CAUSE, new, 4)
    driver.settle(shop, new)
    assert deployments(server) == {"api-blue": 4}
    assert SERVICE not in server.objects


def test_an_old_side_that_somebody_else_scales_is_no_canarys(shop: Site, server: ApiServer) -> None:
    run(shop, server, work(instances=2), "api")
    entry = {"manager": "autoscaler", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    server.objects[API]["metadata"]["managedFields"].append(entry)
    new = work("1.1.0", instances=2, strategy="canary", rollout=Rollout(canary=(1,)))
    with pytest.raises(HostError, match="the Deployment api is scaled by autoscaler"):
        driver.preflight(shop, new)
    entry["manager"] = "kubectl-scale"
    driver.preflight(shop, new)


def test_a_canary_behind_our_own_service_is_led_to_as_well(shop: Site, server: ApiServer) -> None:
    run(shop, server, blue_green(instances=2), "api-blue")
    new = work("1.1.0", instances=2, strategy="canary", rollout=Rollout(canary=(1,)))
    driver.apply(shop, CAUSE, new, 1)
    assert (leads_to(server), deployments(server)) == (
        {marks.SERVICE: "api"},
        {"api-blue": 2, "api-green": 1},
    )


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [("DaemonSet", "canary"), ("DaemonSet", "blue-green"), ("StatefulSet", "blue-green")],
)
def test_other_kinds_have_no_second_side(shop: Site, kind: str, strategy: Any) -> None:
    site, one = with_manifest(shop, MANIFEST.replace("StatefulSet", kind), strategy=strategy)
    driver.prepare(site, one, "f" * 40)
    with pytest.raises(HostError, match=f"a {kind} cannot do {strategy}: that needs a Deployment"):
        driver.preflight(site, one)
