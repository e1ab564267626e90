"""Who the Kubernetes driver is to a server, and what the server's refusals mean."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from reconciler.drivers.base import Site
from reconciler.drivers.kubernetes.access import Access, from_kubeconfig, in_cluster
from reconciler.drivers.kubernetes.api import Absent, Api, Conflict, Forbidden, Gone, path_of, refusal
from reconciler.drivers.kubernetes.objects import Status
from reconciler.drivers.kubernetes.options import choice
from reconciler.model.errors import ArtifactError, HostError, TransientError
from tests.drivers.kubernetes.api_server import serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate, good for an authority and for a client, in one folder."""
    folder = tmp_path_factory.mktemp("certificate")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=t"]
    argv += ["-keyout", str(folder / "key"), "-out", str(folder / "crt")]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return folder


def kubeconfig(folder: Path, *, user: Any = None, **cluster: Any) -> Path:
    file = folder / "kubeconfig"
    config = {
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://k8s.example:6443/", **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    file.write_text(json.dumps(config))
    return file


def test_a_context_says_where_the_server_is_and_who_we_are(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, user={"token": "t"}, **{"tls-server-name": "k"}), None)
    assert (access.server, access.namespace, access.server_name) == ("https://k8s.example:6443", "shop", "k")
    assert access.token(False) == "t"
    assert access.tls is not None
    assert access.tls.verify_mode == ssl.CERT_REQUIRED


def test_certificates_come_from_files_or_from_the_file_itself(tmp_path: Path, certificate: Path) -> None:
    def b64(name: str) -> str:
        return base64.b64encode((certificate / name).read_bytes()).decode()

    inline = {"client-certificate-data": b64("crt"), "client-key-data": b64("key")}
    files = {"client-certificate": str(certificate / "crt"), "client-key": str(certificate / "key")}
    for user, cluster in (
        (inline, {"certificate-authority-data": b64("crt")}),
        (files, {"certificate-authority": str(certificate / "crt")}),
    ):
        access = from_kubeconfig(kubeconfig(tmp_path, user=user, **cluster), "main")
        assert access.tls is not None
        assert len(access.tls.get_ca_certs()) == 1
    skipping = from_kubeconfig(kubeconfig(tmp_path, **{"insecure-skip-tls-verify": True}), "main")
    assert skipping.tls is not None
    assert skipping.tls.verify_mode == ssl.CERT_NONE
    assert skipping.token(False) == ""


@pytest.mark.parametrize(
    ("user", "cluster", "what"),
    [
        ({"username": "u", "password": "p"}, {}, "which Kubernetes has given up"),
        ({"exec": {"apiVersion": "v9", "command": "x"}}, {}, "is neither v1 nor v1beta1"),
        ({}, {"server": "k8s.example"}, "has no server"),
        ({}, {"certificate-authority-data": "%"}, "is not base64"),
        ({}, {"certificate-authority-data": "eA=="}, "certificates are not usable"),
        ({}, {"certificate-authority": "nowhere"}, "cannot use the certificates"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], what: str
) -> None:
    with pytest.raises(HostError, match=what):
        from_kubeconfig(kubeconfig(tmp_path, user=user, **cluster), None)


def test_a_kubeconfig_without_what_is_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="contexts has no 'other'"):
        from_kubeconfig(kubeconfig(tmp_path), "other")
    with pytest.raises(HostError, match="cannot read the kubeconfig"):
        from_kubeconfig(tmp_path / "nowhere", None)
    file = tmp_path / "kubeconfig"
    for text, what in (("a: [", "it is not YAML"), ("[]\n", "nothing says which of contexts")):
        file.write_text(text)
        with pytest.raises(HostError, match=what):
            from_kubeconfig(file, None)


def test_a_token_in_a_file_is_read_at_every_call(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    access = from_kubeconfig(kubeconfig(tmp_path, user={"tokenFile": "token"}), None)
    assert access.token(False) == "one"
    (tmp_path / "token").write_text("two\n")
    assert access.token(False) == "two"


PLUGIN = """#!/bin/sh
echo once >> {log}
test "$WANTED" = yes || exit 3
case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) ;; *) exit 4;; esac
echo '{{"status": {{"token": "'$1'", "expirationTimestamp": "{expires}"}}}}'
"""


def plugin(folder: Path, expires: str = "2999-01-01T00:00:00Z", wanted: str = "yes") -> dict[str, Any]:
    program = folder / "plugin"
    program.write_text(PLUGIN.format(log=folder / "log", expires=expires))
    program.chmod(0o755)
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "args": ["abc"]}
    return {"exec": spec | {"env": [{"name": "WANTED", "value": wanted}], "provideClusterInfo": True}}


def test_a_credential_plugin_is_asked_once_until_its_token_expires_or_is_refused(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, user=plugin(tmp_path)), None)
    assert [access.token(False), access.token(False), access.token(True)] == ["abc"] * 3
    assert (tmp_path / "log").read_text().split() == ["once", "once"]
    expired = from_kubeconfig(kubeconfig(tmp_path, user=plugin(tmp_path, "2000-01-01T00:00:00Z")), None)
    assert [expired.token(False), expired.token(False)] == ["abc"] * 2
    assert len((tmp_path / "log").read_text().split()) == 4


def test_a_credential_plugin_that_fails_is_named_without_what_it_said(tmp_path: Path) -> None:
    access = from_kubeconfig(kubeconfig(tmp_path, user=plugin(tmp_path, wanted="no")), None)
    with pytest.raises(
        HostError, match=r"plugin, which fetches the token for the API server, ended with code 3"
    ):
        access.token(False)
    babbling = from_kubeconfig(kubeconfig(tmp_path, user=plugin(tmp_path, expires="never")), None)
    with pytest.raises(HostError, match="gave no token"):
        babbling.token(False)


def test_in_a_pod_the_service_account_is_who_we_are(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(HostError, match="does not run in a pod"):
        in_cluster(tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "namespace").write_text("ugs")
    (tmp_path / "ca.crt").write_bytes((certificate / "crt").read_bytes())
    access = in_cluster(tmp_path)
    assert (access.server, access.namespace, access.token(False)) == ("https://[fd00::1]:443", "ugs", "t")


def test_only_namespaces_and_contexts_that_ugs_yaml_allows_are_used(site: Site) -> None:
    engine = {"namespaces": ["shop", "team-*"], "contexts": ["prod"], "kubeconfig": "/k"}

    def chosen(**options: str) -> Any:
        return choice(structs.replace(site, engine=engine, options=options))

    assert chosen(namespace="team-a", context="prod").options.context == "prod"
    assert chosen(namespace="shop").engine.kubeconfig == "/k"
    with pytest.raises(
        HostError, match=r"the namespace kube-system may not be used: ugs.yaml allows shop, team-\*"
    ):
        chosen(namespace="kube-system")
    with pytest.raises(HostError, match=r"the context other may not be used: ugs.yaml allows prod"):
        chosen(namespace="shop", context="other")
    with pytest.raises(HostError, match="nothing says in which namespace"):
        choice(structs.replace(site, engine=engine))
    with pytest.raises(HostError, match=r"ugs.yaml allows none"):
        choice(structs.replace(site, options={"namespace": "shop"}))


def test_without_a_kubeconfig_the_daemon_takes_itself_for_a_pod(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    inside = choice(structs.replace(site, engine={"namespaces": ["*"]}, options={"namespace": "shop"}))
    with pytest.raises(HostError, match="does not run in a pod"):
        inside.access()


@pytest.mark.parametrize(
    ("code", "message", "kind", "says"),
    [
        (401, "Unauthorized", Forbidden, "does not accept our credentials; renew them"),
        (403, 'User "x" cannot patch resource "pods"', Forbidden, "cannot patch resource"),
        (403, "exceeded quota: q", Forbidden, "raise the quota"),
        (400, 'admission webhook "w" denied the request', HostError, "see to that webhook"),
        (404, 'namespaces "shop" not found', Absent, "create the namespace"),
        (404, 'pods "api" not found', Absent, "removed by hand"),
        (409, "object has been modified", Conflict, "see who changes it"),
        (410, "too old", Gone, "too old"),
        (422, "Invalid value", ArtifactError, "mend it in a new release"),
        (503, "", TransientError, "status 503"),
        (418, "teapot", HostError, "see the logs of the API server"),
    ],
)
def test_a_refusal_says_what_was_asked_and_whose_it_is_to_mend(
    code: int, message: str, kind: type[Exception], says: str
) -> None:
    error = refusal("apply api", Status(code, "", message), "https://k")
    assert type(error) is kind
    assert says in str(error)
    assert str(error).startswith("cannot apply api: ")


def test_a_token_that_is_refused_is_fetched_anew_once() -> None:
    with serving() as server:
        asked: list[bool] = []

        def token(anew: bool) -> str:
            asked.append(anew)
            return server.token if anew else "expired"

        api = Api(Access(server.url, None, token))
        assert json.loads(api.call("list", "GET", path_of("v1", "pods", "shop")))["items"] == []
        assert asked == [False, True]
        server.token = "other"
        server.refuse("GET /pods", 401, "Unauthorized")
        with pytest.raises(HostError, match="does not accept our credentials"):
            api.call("list", "GET", path_of("v1", "pods", "shop"))
        api.close()


def test_an_answer_that_is_no_status_or_too_large_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        api = Api(Access(server.url, None, lambda _: server.token))
        server.refusals["GET /pods"] = (503, {"code": "not a number"})
        with pytest.raises(TransientError, match="not a number"):
            api.call("list", "GET", path_of("v1", "pods", "shop"))
        server.refusals.clear()
        monkeypatch.setattr("reconciler.drivers.kubernetes.api.BODY_BYTES_MAX", 5)
        with pytest.raises(HostError, match="the answer is larger than 5 bytes"):
            api.call("list", "GET", path_of("v1", "pods", "shop"))
        api.close()


def test_a_proxy_and_another_name_for_tls_are_used_where_the_kubeconfig_says_so(certificate: Path) -> None:
    tls = ssl.create_default_context(cafile=certificate / "crt")
    access = Access("https://127.0.0.1:9", tls, lambda _: "", server_name="k", proxy="http://127.0.0.1:9")
    with pytest.raises(HostError, match="does not answer"):
        Api(access).call("ask", "GET", "/readyz")
