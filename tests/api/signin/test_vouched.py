"""Tokens of providers that are shown, a provider that is down, and rights that are written anew."""

from __future__ import annotations

from typing import Any

from tests.api.network import call, token_for
from tests.api.signin.browser import Browser, signed_in
from tests.api.signin.conftest import ADA, AUDIENCE
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import wait_until
from tests.oidc.provider import CLIENT_ID, Provider, listening
from tests.world import World


def test_a_machine_shows_a_token_of_the_provider(
    served: DaemonProcess, port: int, provider: Provider
) -> None:
    token = provider.token(email="repo:org/fleet@example.org")
    status = call(port, "GET", "/upgrade/status", token=token)
    assert status.status == 200
    assert [one["environment"] for one in status.body["environments"]] == ["production"]
    hold = {"environment": "production", "reason": "me"}
    assert call(port, "POST", "/holds", hold, token=token).status == 403
    ada = provider.token(**ADA)
    made = call(port, "POST", "/holds", hold, token=ada)
    assert (made.status, made.body["owner"]) == (200, "ada@example.org")
    assert call(port, "POST", "/holds/release", {"id": made.body["id"]}, token=ada).status == 200
    nobody = call(port, "GET", "/upgrade/status", token=provider.token(email="sid@example.org"))
    assert nobody.status == 403
    assert "groups: none" in nobody.body["detail"]
    for bad in (provider.token(email="eve@example.org", aud="x"), provider.token(), "a.b.c"):
        assert call(port, "GET", "/upgrade/status", token=bad).status == 401
    assert call(port, "GET", "/upgrade/status", token=token_for(served, "ci", "viewer")).status == 200


def test_each_provider_vouches_for_its_own(
    served: DaemonProcess, port: int, provider: Provider, ci: Provider
) -> None:
    main: dict[str, Any] = {"sub": "repo:org/fleet:ref:refs/heads/main", "aud": AUDIENCE}
    assert call(port, "POST", "/sync", {}, token=ci.token(**main)).status == 200
    for token, status in (
        (ci.token(**main | {"sub": "repo:org/other:ref:refs/heads/main"}), 403),
        (ci.token(**main | {"sub": "eve@example.org"}), 403),  # whom the other one knows
        (ci.token(**main | {"groups": ["sre"]}), 200),
        (ci.token(sub=main["sub"], aud=CLIENT_ID), 401),
        (provider.token(email="repo:org/fleet:ref:refs/heads/main"), 403),
        (provider.token(key=ci.keys[0], **ADA), 401),  # the other one's key
        (ci.token(iss=provider.issuer, **ADA), 401),
    ):
        assert call(port, "POST", "/sync", {}, token=token).status == status


def test_a_provider_that_is_down_keeps_nobody_else_out(
    fleet: World, served: DaemonProcess, base: str, port: int, provider: Provider
) -> None:
    browser, token = Browser(), provider.token(**ADA)
    signed_in(base, browser)
    provider.server.shutdown()
    served.stop()
    with daemon(fleet) as again:  # which has never heard of its keys
        again.until_serving()
        left = browser.get(f"{base}/login/oidc")
        assert left.status == 503
        assert "cannot be reached" in left.text
        assert call(port, "GET", "/upgrade/status", token=token).status == 503
        assert browser.get(f"{base}/upgrade/status").status == 200  # signed in before
        ours = token_for(again, "bob", "viewer")
        assert call(port, "GET", "/upgrade/status", token=ours).status == 200
        provider.server.server_close()
        with listening(provider):
            wait_until(lambda: call(port, "GET", "/upgrade/status", token=token).status == 200)


def test_what_people_may_do_is_read_anew_at_a_start(
    fleet: World, served: DaemonProcess, base: str, provider: Provider
) -> None:
    """The last of the module: its daemon is stopped already."""
    with listening(provider):
        browser = Browser()
        with daemon(fleet) as first:
            first.until_serving()
            signed_in(base, browser)
            assert browser.get(f"{base}/upgrade/status").status == 200
            assert browser.get(f"{base}/tokens").status == 403
        fleet.settings_more = fleet.settings_more.replace(
            "{group: sre, role: viewer}", "{group: dev, role: admin}"
        )
        with daemon(fleet) as promoted:
            promoted.until_serving()
            assert browser.get(f"{base}/tokens").status == 200
        fleet.settings_more = fleet.settings_more.replace("group: sre", "group: x").replace(
            "group: dev", "group: y"
        )
        with daemon(fleet) as without:
            without.until_serving()
            assert browser.get(f"{base}/upgrade/status").status == 401
