"""Who we are to an API server, and where it is: from a kubeconfig, or from the pod that we run in."""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler import command
from reconciler.clock import SystemClock
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PLUGIN_TIMEOUT_S = 20.0
PLUGIN_INHERITS = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "HTTPS_PROXY", "NO_PROXY")
"""What a credential plugin sees of the daemon's own environment, beside what the kubeconfig gives it."""
EXPIRY_MARGIN_S = 60.0
CREDENTIALS = "client.authentication.k8s.io/"


class Access(Struct, frozen=True):
    """One API server. `token` gives the bearer token of the moment; asked with True, one that is fetched anew."""

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[bool], str]
    namespace: str = "default"
    server_name: str | None = None
    proxy: str | None = None


def in_cluster(folder: Path = SERVICE_ACCOUNT) -> Access:
    """As the service account of our own pod. Raises HostError outside one."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").is_file():
        raise HostError(
            "this daemon does not run in a pod with a service account",
            "name a kubeconfig under engines.kubernetes in ugs.yaml",
        )
    with host_trouble("read the pod's service account"):
        tls = ssl.create_default_context(cafile=folder / "ca.crt")
        namespace = (folder / "namespace").read_text().strip()
    host = f"[{host}]" if ":" in host else host
    return Access(f"https://{host}:{port}", tls, _from_file(folder / "token"), namespace)


def from_kubeconfig(file: Path, context: str | None) -> Access:
    """As a context of a kubeconfig says, or its current one. Raises HostError for whatever it does not say."""
    config = _Config(file)
    context = context or config.text("current-context")
    chosen = config.named("contexts", "context", context)
    cluster = config.named("clusters", "cluster", chosen.get("cluster"))
    user = config.named("users", "user", chosen["user"]) if chosen.get("user") else {}
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise config.wrong(f"its cluster {chosen.get('cluster')!r} has no server")
    return Access(
        server,
        _tls(config, cluster, user) if server.startswith("https://") else None,
        _token(config, user, cluster),
        str(chosen.get("namespace") or "default"),
        cluster.get("tls-server-name"),
        cluster.get("proxy-url"),
    )


class _Config:
    """A kubeconfig: an operator's file, which may name programs and files."""

    def __init__(self, file: Path) -> None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        self.file = file
        with host_trouble("read the kubeconfig"):
            text = file.read_text()
        try:
            data = YAML(typ="safe").load(text)
        except YAMLError as error:
            raise self.wrong("it is not YAML") from error
        self._data: dict[str, Any] = data if isinstance(data, dict) else {}

    def wrong(self, what: str) -> HostError:
        return HostError(f"kubeconfig {self.file}: {what}", "correct it, or name another in ugs.yaml")

    def text(self, key: str) -> str:
        return str(self._data.get(key) or "")

    def named(self, kind: str, key: str, name: object) -> dict[str, Any]:
        for entry in self._data.get(kind) or ():
            if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(key), dict):
                return dict(entry[key])
        raise self.wrong(f"{kind} has no {name!r}" if name else f"nothing says which of {kind} to use")

    def path(self, name: str) -> Path:
        return self.file.parent / name

    def data(self, values: dict[str, Any], key: str) -> bytes:
        try:
            return base64.b64decode(values[key], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise self.wrong(f"{key} is not base64") from error


def _tls(config: _Config, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    with host_trouble(f"use the certificates of the kubeconfig {config.file}"):
        try:
            if cluster.get("certificate-authority-data"):
                authority = config.data(cluster, "certificate-authority-data").decode("ascii", "replace")
                context = ssl.create_default_context(cadata=authority)
            elif cluster.get("certificate-authority"):
                context = ssl.create_default_context(cafile=config.path(cluster["certificate-authority"]))
            else:
                context = ssl.create_default_context()
            if cluster.get("insecure-skip-tls-verify"):  # the operator's own word, in the operator's own file
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            _identify(config, user, context)
        except ssl.SSLError as error:
            raise config.wrong(f"its certificates are not usable: {error.reason or error}") from error
    return context


def _identify(config: _Config, user: dict[str, Any], context: ssl.SSLContext) -> None:
    """Load the client certificate, if there is one."""
    if user.get("client-certificate"):
        context.load_cert_chain(config.path(user["client-certificate"]), config.path(user["client-key"]))
    elif user.get("client-certificate-data"):
        both = b"\n".join(config.data(user, f"client-{part}-data") for part in ("certificate", "key"))
        # OpenSSL reads them from a file alone: it is 0600, and gone as soon as it is read.
        with tempfile.NamedTemporaryFile() as file:
            file.write(both)
            file.flush()
            context.load_cert_chain(file.name)


def _token(config: _Config, user: dict[str, Any], cluster: dict[str, Any]) -> Callable[[bool], str]:
    if user.get("tokenFile"):
        return _from_file(config.path(user["tokenFile"]))
    if user.get("token"):
        fixed = str(user["token"])
        return lambda _anew: fixed
    if user.get("exec"):
        return _Plugin(config, user["exec"], cluster)
    if user.get("auth-provider") or user.get("username"):
        raise config.wrong("it signs in with auth-provider or a password, which Kubernetes has given up")
    return lambda _anew: ""


def _from_file(file: Path) -> Callable[[bool], str]:
    def read(_anew: bool) -> str:
        # At every call: the kubelet replaces it, at the latest every hour.
        with host_trouble("read the token for the API server"):
            return file.read_text().strip()

    return read


class _Plugin:
    """A program that fetches tokens (`exec` in a kubeconfig); each token is used until shortly before it expires."""

    def __init__(self, config: _Config, spec: dict[str, Any], cluster: dict[str, Any]) -> None:
        version = str(spec.get("apiVersion", ""))
        if version not in (f"{CREDENTIALS}v1", f"{CREDENTIALS}v1beta1"):
            raise config.wrong(
                f"users: exec.apiVersion {version!r} is neither v1 nor v1beta1 of {CREDENTIALS}"
            )
        asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        if spec.get("provideClusterInfo"):
            asked["spec"] = {"interactive": False, "cluster": cluster}
        name = str(spec.get("command", ""))
        # A path is meant from where the kubeconfig is, a bare name from the PATH.
        self._argv = (str(config.path(name)) if "/" in name else name, *map(str, spec.get("args") or ()))
        given = {str(one["name"]): str(one["value"]) for one in spec.get("env") or ()}
        self._environment = given | {"KUBERNETES_EXEC_INFO": json.dumps(asked)}
        self._config = config
        self._kept = ""
        self._until_s = 0.0

    def __call__(self, anew: bool) -> str:
        clock = SystemClock()
        if anew or not self._kept or clock.monotonic() >= self._until_s:
            token, expires = self._fetch()
            left_s = (expires - clock.now()).total_seconds() if expires else 3600.0
            self._kept, self._until_s = token, clock.monotonic() + left_s - EXPIRY_MARGIN_S
        return self._kept

    def _fetch(self) -> tuple[str, datetime | None]:
        inherited = {name: os.environ[name] for name in PLUGIN_INHERITS if name in os.environ}
        result = command.run(
            self._argv, timeout_s=PLUGIN_TIMEOUT_S, environment=inherited | self._environment
        )
        if result.timed_out or result.code:
            why = "took too long" if result.timed_out else f"ended with code {result.code}"
            raise HostError(
                f"{self._argv[0]}, which fetches the token for the API server, {why}",
                f"run it by hand, as kubeconfig {self._config.file} says",
            )
        try:
            status = json.loads(result.stdout)["status"]
            expires = status.get("expirationTimestamp")
            return str(status["token"]), datetime.fromisoformat(expires).astimezone(UTC) if expires else None
        except (ValueError, KeyError, TypeError, AttributeError):
            # Without its cause: that would hold the token.
            raise self._config.wrong(f"{self._argv[0]} gave no token") from None
