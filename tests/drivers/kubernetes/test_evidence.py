"""What pods have written: for people, and as evidence of a crash."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Site
from reconciler.model.errors import HostError
from reconciler.model.release import (
    Run,
    SecretName,
)
from tests.drivers.kubernetes.api_server import ApiServer
from tests.drivers.kubernetes.shop import CAUSE, pod, work


def test_the_last_words_of_what_crashed_are_evidence_without_its_secrets(
    shop: Site, server: ApiServer
) -> None:
    one = work(run=Run(port=8080, environment={"DB": SecretName("db-password")}))
    driver.apply(shop, CAUSE, one, 1)
    ended: dict[str, Any] = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 1}
    pod(server, one, ready=False, **ended)
    server.logs["api-1"] = "cannot sign in as hunter2\n\nbye\n"
    [crashed] = driver.observe(shop, "production")["api"].instances
    assert crashed.state == "crashed"
    assert crashed.detail.endswith("; its last words: cannot sign in as [secret] | bye")
    assert server.sent("GET", "/log")[-1].query["previous"] == "true"
    driver.observe(shop, "production")
    assert len(server.sent("GET", "/log")) == 1
    pod(server, one, ready=False, **ended | {"restartCount": 2})
    server.logs["api-1"] = "unable to retrieve container logs for x"
    [crashed] = driver.observe(shop, "production")["api"].instances
    assert crashed.detail.endswith("| bye")

    def no_secret(_name: str, _environment: str, _service: str) -> str:
        raise HostError("it is not granted any more")

    blind = structs.replace(shop, secret=no_secret)
    [crashed] = driver.observe(blind, "production")["api"].instances
    assert "last words" not in crashed.detail


def test_without_a_log_a_crash_is_still_a_crash(shop: Site, server: ApiServer) -> None:
    driver.apply(shop, CAUSE, work(), 1)
    pod(server, work(), ready=False, state={"terminated": {"exitCode": 1}})
    server.refuse("GET /log", 500, "no route to the node")
    [crashed] = driver.observe(shop, "production")["api"].instances
    assert crashed.detail == "container api ended with code 1"


def test_logs_are_those_of_every_pod_and_before_its_end_of_one_that_crashed(
    shop: Site, server: ApiServer
) -> None:
    one = work(instances=2)
    assert driver.logs(shop, "production", "api", lines=5) == []
    driver.apply(shop, CAUSE, one, 2)
    pod(server, one, "a")
    server.logs |= {"a": "one\ntwo\n", "b": "three\n"}
    assert driver.logs(shop, "production", "api", lines=5) == ["one", "two"]
    pod(server, one, "b", ready=False, state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=2)
    lines = driver.logs(shop, "production", "api", lines=5)
    assert lines == ["==> a <==", "one", "two", "==> b <==", "three"]
    assert server.sent("GET", "/b/log")[-1].query["previous"] == "true"
