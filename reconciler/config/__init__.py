"""The daemon's own configuration: ugs.yaml and the environment to frozen settings, parsed once.

Nothing else reads the process's environment. Secrets are references that are resolved at each use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reconciler.config.forge import bumps_of, forge_of
from reconciler.config.notify import notify_of
from reconciler.config.people import machines_of, oidc_of, people_of
from reconciler.config.secret import Secret, referred
from reconciler.config.settings import (
    FleetLock,
    Forge,
    Grant,
    Identity,
    Notify,
    Prometheus,
    Registry,
    Repository,
    Settings,
    Slack,
    Tls,
    Trust,
)
from reconciler.config.webhooks import webhooks_of
from reconciler.model import schema
from reconciler.model.detached import Key, parse_key
from reconciler.model.document import SIZE_BYTES_MAX, Document, read, seconds
from reconciler.model.document import Path as Keys
from reconciler.model.errors import HostError, UgsError
from reconciler.model.findings import Findings
from reconciler.model.lease import LASTS_MAX_S

__all__ = [
    "LOCAL_FILE",
    "SYSTEM_FILE",
    "FleetLock",
    "Forge",
    "Grant",
    "Identity",
    "Notify",
    "Registry",
    "Repository",
    "Secret",
    "Settings",
    "Slack",
    "Tls",
    "Trust",
    "load",
    "parse",
]
SYSTEM_FILE = Path("/etc/ugs/ugs.yaml")
LOCAL_FILE = Path("ugs.yaml")
LEASE_MIN_S = 1.0
PORT_MAX = 65_535

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
GIT_VARIABLES = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK"),
    *(*TLS_VARIABLES, *PROXY_VARIABLES, *map(str.lower, PROXY_VARIABLES)),
)
TRACE_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROBE_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ")
_SCP_FORM = re.compile(r"[^/]+:.*")
_HOST_ALONE = re.compile(r"https?://[^/]+")


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings from `path`, else /etc/ugs/ugs.yaml, else ./ugs.yaml.

    Raises InputError for what is wrong in the file, UgsError where there is none, HostError where it cannot
    be read. Relative paths in the file start at its own folder.
    """
    file = path or next((file for file in (SYSTEM_FILE, LOCAL_FILE) if file.is_file()), None)
    if file is None:
        raise UgsError(
            f"there is neither {SYSTEM_FILE} nor ./{LOCAL_FILE}", "write one, or name it with --config"
        )
    try:
        with file.open("rb") as opened:
            data = opened.read(SIZE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise UgsError(f"{file} is not there", "write it, or name another with --config") from error
    except OSError as error:
        raise HostError(
            f"{file} cannot be read: {error.strerror}", "let the daemon's user read it"
        ) from error
    return parse(read(data, str(file)), file.resolve(), environ)


def parse(document: Document, file: Path, environ: Mapping[str, str]) -> Settings:
    """The settings that a document describes. Raises InputError with every problem."""
    schema.check(document, "ugs")
    parser = _Parser(document, file.parent, environ)
    data = document.data
    oidc, machines = oidc_of(data, parser.found, parser.reference), machines_of(data, parser.found)
    settings = Settings(
        file=file,
        repository=parser.repository(),
        state=parser.path(data.get("state", str(Settings.state))),
        lease_s=parser.lease_s(),
        lease_namespace=data.get("leases", {}).get("namespace"),
        environments=tuple(data.get("environments", ())),
        drivers=tuple(data.get("drivers", Settings.drivers)),
        engines=parser.engines(),
        registries={
            host: Registry(login["username"], parser.reference(login["password"]))
            for host, login in data.get("registries", {}).items()
        },
        artifacts_allowed=parser.allowed(),
        artifact_keys=parser.artifact_keys(),
        identity=parser.identity(),
        trust=parser.trust() if "trust" in data else None,
        listen=parser.address(("listen",), data.get("listen", "")),
        tls=parser.tls() if "tls" in data else None,
        fleetlock=parser.fleetlock(),
        webhooks=webhooks_of(data, parser.found, parser.reference),
        oidc=oidc,
        machines=machines,
        people=people_of(data, oidc, machines, parser.found),
        secrets={name: parser.grant(name, value) for name, value in data.get("secrets", {}).items()},
        floor_approvals={
            kind: int(number) for kind, number in data.get("floor", {}).get("approvals", {}).items()
        },
        notify=notify_of(data.get("notify", {}), parser.found, parser.reference),
        prometheus=parser.prometheus() if "prometheus" in data else None,
        bumps=bumps_of(data, parser.found),
        forge=forge_of(data, parser.found, parser.reference),
        metrics_services_max=int(data.get("metrics", {}).get("services", Settings.metrics_services_max)),
        traces=_traces(environ),
        git_environment={name: environ[name] for name in GIT_VARIABLES if name in environ},
        failpoint=environ.get("UGS_FAILPOINT") or None,
        notify_socket=environ.get("NOTIFY_SOCKET") or None,
        watchdog_s=_watchdog_s(environ),
        probe_environment={name: environ[name] for name in PROBE_VARIABLES if name in environ},
    )
    if settings.notify.slack and settings.notify.slack.signing_secret and not settings.listen:
        at: Keys = ("notify", "slack", "signing_secret")
        parser.found.add(at, "nothing listens for Slack's requests", "add `listen`, or use app_token instead")
    parser.found.settle()
    return settings


class _Parser:
    """The parts of the file that need more than copying."""

    def __init__(self, document: Document, folder: Path, environ: Mapping[str, str]) -> None:
        self.data: dict[str, Any] = document.data
        self.found = Findings(document)
        self.folder = folder
        self.environ = environ

    def path(self, text: str) -> Path:
        return self.folder / text

    def repository(self) -> Repository:
        keys: Keys = ("repository",)
        data = self.found.timed(keys, ("poll", "max_stale"), positive=True)
        url = data.pop("url")
        if "://" in url:
            self.found.valid((*keys, "url"), _check_url)
        elif not _SCP_FORM.fullmatch(url):
            url = str(self.path(url).resolve())
        for key in ("ssh_key", "known_hosts"):
            if key in data:
                data[key] = self.path(data[key])
        if "password" in data:
            data["password"] = self.reference(data["password"])
        return Repository(url=url, **data)

    def identity(self) -> Identity:
        data = dict(self.data.get("identity", {}))
        if "signing_key" in data:
            data["signing_key"] = self.path(data["signing_key"])
        return Identity(**data)

    def trust(self) -> Trust:
        data = dict(self.data["trust"])
        if "signing_key" not in self.data.get("identity", {}):
            message = "the daemon's own reverts would not be trusted: nothing signs them"
            self.found.add(("trust",), message, "add identity.signing_key, and its public key to the signers")
        movers, programs = data.pop("environments", {}), data.pop("programs", {})
        paths = {key: data[key] for key in ("signers", "revoked", "gpg_keys") if key in data}
        paths |= {f"{name}_program": path for name, path in programs.items()}
        paths = {key: self.path(path) for key, path in paths.items()}
        return Trust(**(data | paths), movers={name: tuple(who) for name, who in movers.items()})

    def lease_s(self) -> float | None:
        text: str | None = self.data.get("lease")
        if text is None:
            return Settings.lease_s
        if text == "off" or not self.found.valid(("lease",), _check_lease, text):
            return None
        return seconds(text)

    def allowed(self) -> tuple[str, ...]:
        prefixes = self.data.get("artifacts", {}).get("allow", Settings.artifacts_allowed)
        for index, prefix in enumerate(prefixes):
            if _HOST_ALONE.fullmatch(prefix):
                message = "this prefix also fits longer host names"
                self.found.add(("artifacts", "allow", index), message, f"write {prefix}/")
        return tuple(prefixes)

    def artifact_keys(self) -> tuple[Key, ...]:
        keys = self.data.get("artifacts", {}).get("keys", ())
        at: Keys = ("artifacts", "keys")
        return tuple(
            parse_key(text) for index, text in enumerate(keys) if self.found.valid((*at, index), parse_key)
        )

    def grant(self, name: str, data: dict[str, Any]) -> Grant:
        if sum(kind in data for kind in ("env", "file", "credential")) != 1:
            message = "a secret is exactly one of env, file and credential"
            self.found.add(("secrets", name), message, "write one of them")
        services, environments = frozenset(data["services"]), frozenset(data["environments"])
        return Grant(self.reference(data), environments, services)

    def engines(self) -> dict[str, dict[str, Any]]:
        """As they are written, each driver for itself; of programs the secrets are read at each use."""
        engines: dict[str, dict[str, Any]] = self.data.get("engines", {})
        if "command" not in engines:
            return engines
        programs = {name: self._program(entry) for name, entry in engines["command"]["programs"].items()}
        return engines | {"command": {"programs": programs}}

    def _program(self, entry: dict[str, Any]) -> dict[str, Any]:
        first, *others = entry["argv"]
        variables = {
            name: self.reference(value).read if isinstance(value, dict) else value
            for name, value in entry.get("environment", {}).items()
        }
        return entry | {
            "argv": [str(self.path(first)) if "/" in first else first, *others],
            "environment": variables,
        }

    def address(self, keys: Keys, text: str) -> tuple[str, int] | None:
        """(host, port) of `127.0.0.1:8475`; None where nothing is written."""
        host, _, port = text.rpartition(":")
        if port and not 1 <= int(port) <= PORT_MAX:
            self.found.add(keys, f"there is no port {port}", "write for example 127.0.0.1:8475")
        return (host.strip("[]"), int(port)) if port else None

    def prometheus(self) -> Prometheus:
        data = self.data["prometheus"]
        self.found.valid(("prometheus", "url"), _check_url)
        return Prometheus(data["url"].rstrip("/"), self.reference(data["token"]) if "token" in data else None)

    def tls(self) -> Tls:
        data = self.data["tls"]
        if "listen" not in self.data:
            self.found.add(("tls",), "nothing is served that could be encrypted", "say `listen` too")
        return Tls(self.path(data["certificate"]), self.path(data["key"]))

    def fleetlock(self) -> FleetLock:
        data = self.data.get("fleetlock", {})
        return FleetLock(
            self.address(("fleetlock", "listen"), data.get("listen", "")),
            {group: int(slots) for group, slots in data.get("groups", {}).items()},
            tuple(data.get("allow", ())),
        )

    def reference(self, data: dict[str, Any]) -> Secret:
        """What {env: NAME}, {file: PATH} or {credential: NAME} refers to."""
        return referred(data, self.environ, self.path)


def _traces(environ: Mapping[str, str]) -> bool:
    """OpenTelemetry's own variables: where its collector is, and whether it is switched off."""
    named = any(environ.get(name) for name in TRACE_VARIABLES)
    return named and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """systemd says it in microseconds, and sets it only where the unit has WatchdogSec=."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None


def _check_lease(text: str) -> None:
    """Raise ValueError for what is too short to be renewed in time, or would keep others waiting."""
    if not LEASE_MIN_S <= seconds(text) <= LASTS_MAX_S:
        raise ValueError("a lease lasts from 1s to 1h; write for example 90s, or off")


def _check_url(url: str) -> None:
    """Raise ValueError for a URL that holds a password: it would stand in logs and process lists."""
    if urlsplit(url).password is not None:
        raise ValueError("this URL holds a password; use `username` and `password: {file: ...}` beside it")
