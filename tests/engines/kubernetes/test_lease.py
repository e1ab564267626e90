"""Who acts, by Lease objects of a real API server: the rights of the page, and two daemons of which one dies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.drivers.kubernetes.access import from_kubeconfig
from reconciler.drivers.kubernetes.api import Api
from reconciler.drivers.kubernetes.lease import ClusterRegister
from reconciler.model.codec import encode
from reconciler.model.errors import HostError
from reconciler.model.lease import Claim
from reconciler.model.register import ABSENT, Late, Move, Refused
from tests.drivers.services import kill_all
from tests.engines.kubernetes.direct import Shop
from tests.git.colleague import git
from tests.scenarios.test_two_daemons import lease, started, watches
from tests.world import World

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["kubernetes"], indirect=True, scope="session"),
]
AT = datetime(2026, 11, 3, 12, tzinfo=UTC)
NAME = "lease/production"


def move(expected: str, epoch: int = 1) -> Move:
    return Move(expected, "whose it is", encode(Claim("a1", "web-1", epoch, 0, 30.0)).decode())


def test_the_pages_role_is_enough_and_no_more_is_needed(shop: Shop, page_account: Path) -> None:
    engine = shop.engine
    api = Api(from_kubeconfig(page_account, None))
    register = ClusterRegister(api, "ugs")
    first = register.swap({NAME: move(ABSENT)}, at=AT)[NAME]
    assert isinstance(first, str)
    assert register.read("lease/")[NAME] == (first, move("").body)
    assert isinstance(register.swap({NAME: move(ABSENT, 2)}, at=AT)[NAME], Late)
    second = register.swap({NAME: move(first, 2)}, at=AT)[NAME]
    assert isinstance(second, str)
    assert isinstance(register.swap({NAME: move(first, 3)}, at=AT)[NAME], Late)
    shown = engine.cluster.get("/apis/coordination.k8s.io/v1/namespaces/ugs/leases/ugs-production")
    assert shown["spec"]["holderIdentity"] == "web-1_a1"
    elsewhere = ClusterRegister(api, "default")
    assert isinstance(elsewhere.swap({NAME: move(ABSENT)}, at=AT)[NAME], Refused)
    with pytest.raises(HostError, match=r'cannot list resource "leases" .* in the namespace "default"'):
        elsewhere.read()
    engine.cluster.send("DELETE", "/apis/coordination.k8s.io/v1/namespaces/ugs/leases/ugs-production")
    # A Lease is the one kind that a PUT may create: who held it puts it back, unless another was faster.
    again = register.swap({NAME: move(second)}, at=AT)[NAME]
    assert isinstance(again, str)
    assert isinstance(register.swap({NAME: move(ABSENT, 4)}, at=AT)[NAME], Late)


def test_of_two_daemons_one_acts_and_the_other_takes_over_when_it_dies(shop: Shop, world: World) -> None:
    engine, other = shop.engine, world.folder / "other"
    leases = (
        "lease: 4s\n"
        f"leases: {{kind: kubernetes, namespace: {engine.namespace}}}\n"
        f'engines: {{kubernetes: {{kubeconfig: "{engine.cluster.kubeconfig}", namespaces: ["shop-*"]}}}}\n'
    )
    objects = f"/apis/coordination.k8s.io/v1/namespaces/{engine.namespace}/leases"
    world.deploy_first("1.0.0")
    try:
        with started(world, world.state, leases) as first:
            first.until_runs("1.0.0")
            with started(world, other, leases) as second:
                watches(second)
                assert lease(second)["held"] is False
                world.bump("1.1.0")
                first.until_runs("1.1.0")
                first.kill()
                kill_all(world.state)  # the services are lost with their host
                second.until_says("production is in our hands (epoch 2)")
                second.until_runs("1.1.0")
            [given_back] = engine.cluster.get(objects)["items"]
            assert given_back["spec"]["holderIdentity"] == ""
            assert given_back["spec"]["leaseTransitions"] == 2
    finally:
        kill_all(other)
    assert git(world.remote, "for-each-ref", "refs/ugs/lease") == ""
