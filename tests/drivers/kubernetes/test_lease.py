"""Leases as objects of a cluster, against the stand-in: moved only as they were last seen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.drivers.base import Site
from reconciler.drivers.kubernetes.lease import ClusterRegister, api_of, manifest, object_name
from reconciler.model.codec import encode
from reconciler.model.errors import HostError, TransientError
from reconciler.model.lease import Claim
from reconciler.model.register import ABSENT, Late, Move, Refused
from tests.drivers.kubernetes.api_server import ApiServer

AT = datetime(2026, 11, 3, 12, 0, 0, 5, tzinfo=UTC)
OURS = Claim("a1", "web-1", 1, 0, 30.5)
THEIRS = Claim("b2", "web-2", 2, 0, 30.5)
NAME = "lease/production"
PATH = "/apis/coordination.k8s.io/v1/namespaces/ugs/leases"


def move(expected: str, claim: Claim = OURS) -> Move:
    return Move(expected, "whose it is", encode(claim).decode())


@pytest.fixture
def register(shop: Site) -> ClusterRegister:
    return ClusterRegister(api_of(shop.engine), "ugs")


def test_it_is_taken_renewed_and_read_by_others(register: ClusterRegister) -> None:
    assert register.read() == {}
    first = register.swap({NAME: move(ABSENT)}, at=AT)[NAME]
    assert isinstance(first, str)
    assert register.read("lease/", "share/web-1/") == {NAME: (first, encode(OURS).decode())}
    second = register.swap({NAME: move(first, THEIRS)}, at=AT)[NAME]
    assert isinstance(second, str)
    assert second != first
    assert register.read()[NAME] == (second, encode(THEIRS).decode())
    assert register.read("share/") == {}


def test_whoever_expects_something_else_comes_too_late(register: ClusterRegister, server: ApiServer) -> None:
    first = register.swap({NAME: move(ABSENT)}, at=AT)[NAME]
    assert isinstance(first, str)
    for expected in (ABSENT, "99999"):
        assert isinstance(register.swap({NAME: move(expected, THEIRS)}, at=AT)[NAME], Late)
    server.drop(f"{PATH}/{object_name(NAME)}")
    assert isinstance(register.swap({NAME: move(first)}, at=AT)[NAME], Late), "it was deleted by hand"


def test_each_of_several_stands_for_itself(register: ClusterRegister, server: ApiServer) -> None:
    register.swap({"lease/staging": move(ABSENT)}, at=AT)
    server.page = 1
    answers = register.swap({NAME: move(ABSENT), "lease/staging": move(ABSENT)}, at=AT)
    assert [type(answers[name]) for name in (NAME, "lease/staging")] == [str, Late]
    assert register.read().keys() == {NAME, "lease/staging"}


def test_who_may_not_is_told_what_to_grant(register: ClusterRegister, server: ApiServer) -> None:
    server.refuse("POST /leases", 403, 'leases is forbidden: User "ugs" cannot create resource "leases"')
    assert isinstance(register.swap({NAME: move(ABSENT)}, at=AT)[NAME], Refused)
    assert register.where(NAME) == "the lease ugs/ugs-production"
    assert "create and update of leases in the namespace ugs" in register.allow(NAME)
    server.refuse("GET /leases", 403, "leases is forbidden")
    with pytest.raises(HostError, match="forbidden"):
        register.read()


def test_after_silence_nobody_knows(register: ClusterRegister, server: ApiServer) -> None:
    server.refuse("GET /leases", 503, "etcd has no leader")
    with pytest.raises(TransientError):
        register.read()
    gone = ClusterRegister(register._api, "ugs")
    gone._api.server = "http://127.0.0.1:1"
    with pytest.raises(TransientError, match="does not answer"):
        gone.swap({NAME: move(ABSENT)}, at=AT)


def test_kubectl_shows_who_holds_it_and_until_when() -> None:
    made = manifest("ugs", NAME, move("7"), at=AT)
    assert made["metadata"]["resourceVersion"] == "7"
    assert made["spec"] == {
        "holderIdentity": "web-1_a1",
        "leaseDurationSeconds": 31,
        "leaseTransitions": 1,
        "renewTime": "2026-11-03T12:00:00.000005Z",
    }
    given_back = manifest("ugs", NAME, move("7", Claim("a1", "web-1", 1, 9, 0.0)), at=AT)
    assert (given_back["spec"]["holderIdentity"], given_back["spec"]["leaseDurationSeconds"]) == ("", 1)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("lease/production", "ugs-production"),
        ("lease/eu-1", "ugs-eu-1"),
        ("lease/Production", ""),
        ("lease/a.b", ""),
        ("share/web-1/production", ""),
        ("lease/" + "x" * 300, ""),
    ],
)
def test_names_are_such_as_kubernetes_takes_and_never_meet(name: str, plain: str) -> None:
    made = object_name(name)
    assert made == plain or (not plain and made.startswith("ugs-") and len(made) <= 220)
    assert all(c.isalnum() or c == "-" for c in made)
    assert made != object_name(name.lower().replace(".", "-")) or name == name.lower().replace(".", "-")
