"""The command line and a daemon on another machine: UGS_URL and UGS_TOKEN, and nothing of ugs.yaml."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.config.elsewhere import elsewhere_from
from reconciler.model.errors import UgsError
from tests.api.network import token_for
from tests.daemon_process import DaemonProcess, daemon, ugs
from tests.drivers.services import free_port
from tests.test_docs import json_shapes, same_shape
from tests.world import World, a_world


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("elsewhere")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.deploy_first("1.0.0")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        yield running


@pytest.fixture(scope="module")
def variables(served: DaemonProcess, port: int) -> dict[str, str]:
    return {"UGS_URL": f"http://127.0.0.1:{port}", "UGS_TOKEN": token_for(served, "far", "admin")}


def test_verbs_ask_the_daemon_elsewhere(variables: dict[str, str], tmp_path: Path) -> None:
    def told(*arguments: str, code: int = 0) -> str:
        done = ugs(*arguments, environment=variables, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        return done.stdout

    assert json.loads(told("status", "--json"))["environments"][0]["services"][0]["service"] == "api"
    assert "api 1.0.0" in told("explain", "production", "api")
    assert told("plan") == "nothing to change\n"
    assert json.loads(told("verify", "production", "--json"))["services"][0]["verdict"] == "healthy"
    header, *rows = told("probes", "production", "api", "--hours", "2").splitlines()
    assert header.split()[:5] == ["probe", "hour", "asked", "failed", "unknown"]
    assert any(row.startswith("process") and row.rstrip().endswith("-") for row in rows)
    assert any(row.startswith("http") and row.rstrip().endswith(" ms") for row in rows)
    answer = json.loads(told("probes", "production", "api", "--json"))
    timed = {**answer, "probes": [one for one in answer["probes"] if one["hours"][0]["latency"]]}
    same_shape(json_shapes()["probes"], timed, "probes")
    assert "held until it is released" in told("hold", "add", "production", "--reason", "move")
    assert json.loads(told("hold", "list", "--json"))["holds"][0]["owner"] == "far"
    [upgrade] = json.loads(told("history", "--json"))["upgrades"]
    assert (upgrade["service"], upgrade["phase"]) == ("api", "succeeded")


def test_the_certificate_of_a_daemon_elsewhere_is_verified(tmp_path: Path) -> None:
    port, key, certificate = free_port(), tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=ugs"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
    with a_world(tmp_path) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.settings_more += f'tls: {{certificate: "{certificate}", key: "{key}"}}\n'
        world.deploy_first("1.0.0")
        with daemon(world) as served:
            served.until_runs("1.0.0")
            token = token_for(served, "far", "viewer")
            asked = {"UGS_URL": f"https://localhost:{port}", "UGS_TOKEN": token}
            trusted = asked | {"SSL_CERT_FILE": str(certificate)}
            done = ugs("status", "--json", environment=trusted, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            stranger = ugs("status", environment=asked, cwd=tmp_path)
            assert (stranger.returncode, "certificate verify failed" in stranger.stderr) == (1, True)
            another = trusted | {"UGS_URL": f"https://127.0.0.1:{port}"}
            assert "certificate" in ugs("status", environment=another, cwd=tmp_path).stderr
        key.write_text("no key")
        config = world.folder / "ugs.yaml"
        refused = ugs("run", "--config", config, cwd=tmp_path)
        assert (refused.returncode, "correct `tls` in ugs.yaml" in refused.stderr) == (1, True)


def test_what_reads_the_daemons_own_files_needs_its_machine(
    variables: dict[str, str], fleet: World, tmp_path: Path
) -> None:
    done = ugs("audit", "verify", environment=variables, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "reads the daemon's own files" in done.stderr
    assert "run it on the daemon's machine" in done.stderr
    named = ugs("audit", "verify", "--config", str(fleet.folder / "ugs.yaml"), environment=variables)
    assert named.returncode == 0, named.stderr


def test_what_goes_wrong_on_the_way_says_what_to_do(variables: dict[str, str], tmp_path: Path) -> None:
    wrong = ugs("status", environment=variables | {"UGS_TOKEN": "ugs_guessed"}, cwd=tmp_path)
    assert (wrong.returncode, "unknown, expired or revoked" in wrong.stderr) == (1, True)
    nobody = ugs("status", environment=variables | {"UGS_URL": "http://127.0.0.1:9"}, cwd=tmp_path)
    assert (nobody.returncode, "did not answer" in nobody.stderr) == (1, True)
    elsewhere = ugs("start", "production", "api", environment=variables, cwd=tmp_path)
    assert (elsewhere.returncode, "nothing is planned for api" in elsewhere.stderr) == (1, True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ugs.example.org", "no URL of a daemon"),
        ("ftp://ugs.example.org", "no URL of a daemon"),
        ("https://", "no URL of a daemon"),
        ("https://ugs.example.org:port", "no URL"),
        ("https://user:word@ugs.example.org", "more than a host and a path"),
        ("https://ugs.example.org/?x=1", "more than a host and a path"),
        ("http://ugs.example.org", "in the clear"),
    ],
)
def test_a_url_that_is_none_or_would_leak_the_token_is_refused(url: str, words: str) -> None:
    with pytest.raises(UgsError, match=words) as caught:
        elsewhere_from({"UGS_URL": url, "UGS_TOKEN": "t"})
    assert caught.value.remedy


def test_a_url_without_a_token_is_refused_and_no_url_is_this_machine() -> None:
    with pytest.raises(UgsError, match="UGS_TOKEN is not"):
        elsewhere_from({"UGS_URL": "https://ugs.example.org"})
    assert elsewhere_from({}) is None
    found = elsewhere_from({"UGS_URL": "https://ugs.example.org/ugs/", "UGS_TOKEN": "secret"})
    assert found is not None
    assert (found.host, found.port, found.path, found.secure) == ("ugs.example.org", None, "/ugs", True)
    assert "secret" not in repr(found)
    here = elsewhere_from({"UGS_URL": "http://[::1]:8475", "UGS_TOKEN": "t"})
    assert here is not None
    assert (here.host, here.port, here.secure) == ("::1", 8475, False)
