"""What the Kubernetes driver sends for a workload."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Registry, Site
from reconciler.drivers.mark import site_id
from reconciler.model.errors import ArtifactError
from reconciler.model.release import ConfigFile, Container, Health, Probe, Rollout, Run, SecretName
from tests.drivers.kubernetes.api_server import ApiServer
from tests.drivers.kubernetes.shop import API, CAUSE, CORE, IMAGE, work


def test_the_object_says_what_it_is_and_applying_again_changes_nothing(shop: Site, server: ApiServer) -> None:
    one = work(instances=2)
    driver.apply(shop, CAUSE, one, 2)
    sent = server.objects[API]
    assert sent["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "ugs",
        "ugs/site": site_id(shop.state),
        "ugs/environment": "production",
        "ugs/service": "api",
        "ugs/target": one.target.digest,
        "ugs/operation": "op-1",
        "ugs/revision": "f" * 40,
    }
    assert sent["metadata"]["annotations"] == {"ugs/version": "1.0.0", "ugs/instances": "2"}
    [asked] = server.sent("PATCH")
    assert (asked.query["fieldManager"], asked.query["force"]) == ("ugs", "false")
    before = json.dumps(sent["spec"])
    driver.apply(shop, CAUSE, one, 2)
    assert json.dumps(server.objects[API]["spec"]) == before


def test_the_container_gets_image_command_ports_environment_and_readiness(
    shop: Site, server: ApiServer
) -> None:
    run = Run(
        command=("bin/api", "--port", "{port}", "--own", "{host}", "$(X)"),
        port=8080,
        environment={"LEVEL": "info", "DB": SecretName("db-password")},
        stop_grace_s=2.5,
    )
    health = Health(probes=(Probe(command=("x",)), Probe(http="http://{host}:{port}/healthz?a=1")))
    driver.apply(shop, CAUSE, work(run=run, health=health), 1)
    pod_spec = server.objects[API]["spec"]["template"]["spec"]
    [container] = pod_spec["containers"]
    assert container["image"] == IMAGE
    assert container["args"] == ["bin/api", "--port", "8080", "--own", "$(UGS_HOST)", "$$(X)"]
    assert container["ports"] == [{"name": "main", "containerPort": 8080}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz?a=1", "port": 8080}
    assert pod_spec["terminationGracePeriodSeconds"] == 3
    environment = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    [name] = [path.rpartition("/")[2] for path in server.objects if "/secrets/" in path]
    assert environment["LEVEL"] == "info"
    assert environment["DB"] == {"secretKeyRef": {"name": name, "key": "DB"}}
    assert server.objects[f"{CORE}/secrets/{name}"]["stringData"] == {"DB": "hunter2"}
    assert "hunter2" not in json.dumps(server.objects[API])
    key = shop.state / "kubernetes.key"
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("probe", "readiness"),
    [
        (Probe(tcp="{host}:{port}"), {"tcpSocket": {"port": 8080}}),
        (Probe(http="http://elsewhere/healthz"), None),
        (Probe(http="http://{host}:{port}/", expect_status=404), None),
        (Probe(http="http://{host}:{port}"), {"httpGet": {"path": "/", "port": 8080}}),
    ],
)
def test_readiness_is_the_first_probe_that_a_kubelet_can_make(
    shop: Site, server: ApiServer, probe: Probe, readiness: dict[str, Any] | None
) -> None:
    driver.apply(shop, CAUSE, work(health=Health(probes=(probe,))), 1)
    found = server.objects[API]["spec"]["template"]["spec"]["containers"][0].get("readinessProbe")
    assert (found if readiness is None else {key: found[key] for key in readiness}) == readiness


def test_a_service_without_a_port_has_neither_port_nor_readiness(shop: Site, server: ApiServer) -> None:
    driver.apply(shop, CAUSE, work(run=None), 1)
    [container] = server.objects[API]["spec"]["template"]["spec"]["containers"]
    assert container.keys() == {"name", "image", "env"}


def test_the_strategy_is_the_engines_own(shop: Site, server: ApiServer) -> None:
    driver.apply(shop, CAUSE, work(), 1)
    assert server.objects[API]["spec"]["strategy"] == {"type": "Recreate", "rollingUpdate": None}
    driver.apply(shop, CAUSE, work(strategy="rolling", rollout=Rollout(batch="25%", pause_s=20.0)), 1)
    spec = server.objects[API]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}
    assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (20, 21)


def test_flags_files_and_the_registry_reach_the_pods(shop: Site, server: ApiServer) -> None:
    files = (
        ConfigFile("etc/api.toml", {"workers": 4, "name": None}),
        ConfigFile("etc/api.json", {"workers": 4}),
        ConfigFile("etc/api.conf", {"debug": True}),
    )
    login = {"127.0.0.1:9": Registry("me", lambda: "pw")}
    one = structs.replace(work(config=files), flags={"new": True})
    driver.apply(structs.replace(shop, registries=login), CAUSE, one, 1)
    pod_spec = server.objects[API]["spec"]["template"]["spec"]
    [name] = [path for path in server.objects if "/configmaps/" in path]
    assert server.objects[name]["data"] == {
        "etc__api.toml": '"workers" = 4\n',
        "etc__api.json": '{\n  "workers": 4\n}\n',
        "etc__api.conf": "debug=true\n",
    }
    mounts = {one["mountPath"]: one["subPath"] for one in pod_spec["containers"][0]["volumeMounts"]}
    assert mounts["/etc/api.toml"] == "etc__api.toml"
    assert {"name": "UGS_FLAGS", "value": '{"new": true}'} in pod_spec["containers"][0]["env"]
    [pull] = [one["name"] for one in pod_spec["imagePullSecrets"]]
    auths = json.loads(server.objects[f"{CORE}/secrets/{pull}"]["stringData"][".dockerconfigjson"])
    assert auths == {"auths": {"127.0.0.1:9": {"username": "me", "password": "pw"}}}


def test_limits_of_the_container_are_kept_and_what_docker_alone_has_is_refused(
    shop: Site, server: ApiServer
) -> None:
    limits = Container(read_only=True, user="1000", memory="512MiB", cpus=0.5, capabilities=("CHOWN",))
    one = work(run=Run(port=8080, container=limits))
    driver.prepare(shop, one, "f" * 40)
    driver.apply(shop, CAUSE, one, 1)
    [container] = server.objects[API]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"memory": "512Mi", "cpu": "0.5"}}
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
        "runAsUser": 1000,
    }
    driver.apply(shop, CAUSE, work(run=Run(port=8080, container=Container())), 1)
    [container] = server.objects[API]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {}}
    for beyond in (Container(user="app"), Container(tmpfs={"/tmp": "1MiB"}), Container(secrets="files")):
        with pytest.raises(ArtifactError, match="the kubernetes driver has no"):
            driver.prepare(shop, work(run=Run(port=8080, container=beyond)), "f" * 40)
