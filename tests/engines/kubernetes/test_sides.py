"""Two Deployments of one service on a real cluster: what its Service leads to, and who ends what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Cause
from reconciler.drivers.kubernetes.api import MERGE
from reconciler.model.errors import HostError
from reconciler.model.release import Rollout
from tests.engines.harness import Stage
from tests.engines.kubernetes import Kubernetes
from tests.engines.kubernetes.direct import CAUSE, Shop

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["kubernetes"], indirect=True, scope="session"),
]


def path(engine: Kubernetes, plural: str) -> str:
    return f"/api/v1/namespaces/{engine.namespace}/{plural}/api"


def reached(engine: Kubernetes) -> list[str]:
    """The versions of the pods that the Service leads to, as the controllers have worked it out."""
    subsets = engine.cluster.get(path(engine, "endpoints")).get("subsets", [])
    names = [one["targetRef"]["name"] for some in subsets for one in some.get("addresses", [])]
    versions = {
        pod["metadata"]["name"]: pod["metadata"]["annotations"]["ugs/version"] for pod in engine.pods("api")
    }
    return sorted(versions.get(name, "gone") for name in names)


def replicas(engine: Kubernetes) -> dict[str, int]:
    return {
        one["metadata"]["name"]: one["spec"]["replicas"]
        for one in engine.workloads()
        if "deletionTimestamp" not in one["metadata"]
    }


def turn(engine: Kubernetes, selector: dict[str, Any]) -> None:
    """As `kubectl edit` would."""
    body = {"spec": {"selector": selector}}
    engine.cluster.send("PATCH", path(engine, "services"), body, content=MERGE)


def until_reached(shop: Shop, *versions: str) -> None:
    shop.until(lambda: reached(shop.engine) == list(versions), lambda: reached(shop.engine))


def restore(shop: Shop, good: Any) -> None:
    driver.restore(shop.site, CAUSE, good, environment="production", service="api")


@pytest.mark.shows("kubernetes", "blue-green")
def test_the_service_is_turned_once_the_new_side_is_proven_and_a_bad_one_is_never_reached(
    stage: Stage,
) -> None:
    engine = cast(Kubernetes, stage.engine)
    with stage.running("1.0.0") as daemon:
        stage.bump("1.1.0", strategy="blue-green")
        stage.until_ended(daemon, "succeeded", "succeeded")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: engine.instances("api") == ["1.1.0"])
        daemon.until(lambda: reached(engine) == ["1.1.0"])
        [old] = engine.pods("api")
        stage.bump("1.2.0", "unhealthy", strategy="blue-green")
        daemon.until(lambda: "1.2.0" in engine.instances("api"))
        assert reached(engine) == ["1.1.0"]
        stage.until_ended(daemon, "succeeded", "succeeded", "reverted")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: engine.instances("api") == ["1.1.0"])
        assert reached(engine) == ["1.1.0"]
        assert engine.pods("api")[0]["metadata"]["uid"] == old["metadata"]["uid"]
    assert stage.world.reverts() == [stage.world.tip()]


def test_a_daemon_killed_beside_the_old_side_goes_on_from_what_the_cluster_says(stage: Stage) -> None:
    engine = cast(Kubernetes, stage.engine)
    stage.world.more = "policy: {prune: true}\n"
    stage.bump("1.0.0", strategy="blue-green")
    with stage.daemon() as daemon:
        daemon.until_runs("1.0.0")
        stage.bump("1.1.0", "slow", strategy="blue-green")
        daemon.until(lambda: sorted(engine.instances("api")) == ["1.0.0", "1.1.0"])
        daemon.kill()
    with stage.daemon() as daemon:
        stage.until_ended(daemon, "succeeded", "succeeded")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: engine.instances("api") == ["1.1.0"])
        daemon.until(lambda: reached(engine) == ["1.1.0"])
        assert replicas(engine) == {"api-green": 1}
        stage.world.pin(None, "api")
        stage.world.merge("Remove it")
        daemon.until(lambda: [said for said in daemon.status()["needs_person"] if "removed at once" in said])
        assert replicas(engine) == {"api-green": 1}
        stage.ugs("approve", "production", "api")
        daemon.until(lambda: replicas(engine) == {})
    assert engine.cluster.get(path(engine, "services").removesuffix("/api"))["items"] == []
    assert stage.world.reverts() == []


def test_the_pages_role_is_enough_for_two_sides_and_what_a_hand_turned_is_turned_back(
    shop: Shop, page_account: Path
) -> None:
    engine = shop.engine
    shop.site = shop.on(kubeconfig=str(page_account))
    first = shop.work("1.0.0", instances=2)
    old, new = (shop.work(version, instances=2, strategy="blue-green") for version in ("1.1.0", "1.2.0"))
    driver.apply(shop.site, CAUSE, first, 2)
    shop.until_runs(first)
    for one, before in ((old, "1.0.0"), (new, "1.1.0")):
        driver.preflight(shop.site, one)
        driver.apply(shop.site, CAUSE, one, 2)
        version = str(one.target.version)
        shop.until(lambda: shop.states().count((version, "running")) == 2, shop.seen)  # noqa: B023
        until_reached(shop, before, before)
        assert len(driver.endpoints(shop.site, one)) == 2
        driver.settle(shop.site, one)
        shop.until_runs(one)
        until_reached(shop, version, version)
    turn(engine, {"ugs/target": None, "ugs/colour": "nowhere", "more": "1"})
    shop.until(shop.drift)
    assert shop.drift().startswith(
        "somebody set spec.selector of the Service api: more=1, ugs/colour=nowhere"
    )
    driver.apply(shop.site, CAUSE, new, 2)
    shop.until_runs(new)
    until_reached(shop, "1.2.0", "1.2.0")
    driver.rename(shop.site, "production", "prod")
    driver.rename(shop.site, "prod", "production")
    shop.until_runs(new)
    restore(shop, old)
    shop.until_runs(old)
    until_reached(shop, "1.1.0", "1.1.0")
    restore(shop, None)
    assert replicas(engine) == {}
    with pytest.raises(HostError, match="not found"):
        engine.cluster.get(path(engine, "services"))


def test_turned_already_and_not_yet_alone_it_is_turned_back_in_one_write(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (shop.work(version, strategy="blue-green") for version in ("1.0.0", "1.1.0"))
    driver.apply(shop.site, CAUSE, old, 1)
    shop.until_runs(old)
    driver.apply(shop.site, CAUSE, new, 1)
    shop.until(lambda: len(set(shop.states())) == 2 and ("1.1.0", "running") in shop.states(), shop.seen)
    with monkeypatch.context() as killed:
        killed.setattr("reconciler.drivers.kubernetes.sides.end", lambda *_: None)
        driver.settle(shop.site, new)
    until_reached(shop, "1.1.0")
    [was] = [
        pod for pod in shop.engine.pods("api") if pod["metadata"]["annotations"]["ugs/version"] == "1.0.0"
    ]
    restore(shop, old)
    until_reached(shop, "1.0.0")
    shop.until_runs(old)
    [now] = shop.engine.pods("api")
    assert now["metadata"]["uid"] == was["metadata"]["uid"]


def test_a_service_of_somebody_elses_is_handed_over_with_its_ports(shop: Shop) -> None:
    spec = {"selector": {"app": "api"}, "ports": [{"name": "web", "port": 80, "targetPort": 8080}]}
    body = {"metadata": {"name": "api"}, "spec": spec}
    shop.engine.cluster.send("POST", path(shop.engine, "services").removesuffix("/api"), body, manager="helm")
    one = shop.work("1.0.0", strategy="blue-green")
    with pytest.raises(HostError, match="is not ours: helm made it"):
        driver.preflight(shop.site, one)
    said = {"metadata": {"labels": {"ugs/environment": "production", "ugs/service": "api"}}}
    shop.engine.cluster.send("PATCH", path(shop.engine, "services"), said, content=MERGE)
    driver.preflight(shop.site, one)
    driver.apply(shop.site, CAUSE, one, 1)
    shop.until_runs(one)
    until_reached(shop, "1.0.0")
    found = shop.engine.cluster.get(path(shop.engine, "services"))["spec"]
    assert [port["port"] for port in found["ports"]] == [80]
    assert "app" not in found["selector"]


def test_the_steps_of_a_canary_take_from_the_old_side_and_an_abort_gives_it_back(shop: Shop) -> None:
    old = shop.work("1.0.0", instances=3, strategy="rolling")
    new = shop.work("1.1.0", instances=3, strategy="canary", rollout=Rollout(canary=(1, 2), pause_s=60.0))
    driver.apply(shop.site, CAUSE, old, 3)
    shop.until_runs(old)
    before = {pod["metadata"]["uid"] for pod in shop.engine.pods("api")}
    driver.preflight(shop.site, new)
    for upto, left in ((1, 3), (2, 2), (2, 2)):
        driver.apply(shop.site, Cause("step", "f" * 40), new, upto)
        assert replicas(shop.engine) == {"api": left, "api-blue": upto}
        wanted = [("1.0.0", "running")] * left + [("1.1.0", "running")] * upto
        shop.until(lambda: sorted(shop.states()) == wanted and not shop.drift(), shop.seen)  # noqa: B023
    restore(shop, old)
    shop.until_runs(old)
    assert replicas(shop.engine) == {"api": 3}
    assert len(before & {pod["metadata"]["uid"] for pod in shop.engine.pods("api")}) == 2
