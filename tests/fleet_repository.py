"""A fleet's repository as its people keep it: a bare remote, and Ada, who writes files by hand and pushes them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.drivers.services import Mode, build_archive, free_port
from tests.git.colleague import Colleague, git

ENVIRONMENT_FILE = "environments/production.yaml"
ENVIRONMENT = """\
# What runs in production. Ask Ada before you change it.
environment: production
driver: {driver}
{more}pins:
{pins}"""
RELEASE = """\
service: {service}
version: "{version}"
artifact: {{archive: {{url: "{url}", sha256: "{sha256}"}}}}
run: {{command: {command}, port: {port}, stop_grace: 2s{run}}}
{more}health:
  soak: {soak}
  deadline: {deadline}
  probes:
    - {{http: "http://127.0.0.1:{{port}}/healthz", interval: 50ms, timeout: 900ms, failures: 2}}
    - {{http: "http://127.0.0.1:{{port}}/version", expect: {{json: {{version: "{{version}}"}}}}, interval: 50ms}}
"""
PROTECTED = """\
#!/bin/sh
test "$1" = refs/heads/main || exit 0
echo once >> "{log}"
echo "main is protected" >&2
exit 1
"""


class FleetRepository:
    """What is written by hand is part of the next commit. Every release really does what its `mode` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = folder / "fleet.git"
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        self.ada = Colleague(folder / "ada", self.remote)
        self.ports: dict[str, int] = {}
        self.pins: dict[str, str] = {}
        self.driver_yaml = "{kind: process}"
        """What the environment file has as its `driver:`."""
        self.more = ""
        """More lines of the environment file."""
        self.files: dict[str, str | None] = {}
        self.signing: dict[str, str] = {}
        """What has git sign every commit; see `tests.git.keys`."""
        self.archives: list[Path] = []

    def release(
        self,
        version: str,
        mode: Mode = "ok",
        *,
        service: str = "api",
        soak: str = "100ms",
        deadline: str = "3s",
        more: str = "",
        probe: str = "",
        files: Mapping[str, str] = {},
        url: str | None = None,
        sha256: str | None = None,
        command: str | None = None,
        run: str = "",
    ) -> None:
        """Write a release and its archive. `more`: lines of the manifest; `run`: keys of `run`."""
        path, digest = build_archive(self.folder / "built", version, mode=mode, name=service, files=files)
        self.archives.append(path)
        text = RELEASE.format(
            service=service,
            version=version,
            url=url or f"archives/{path.name}",
            sha256=sha256 or digest,
            command=command or f'["bin/{service}", "{{port}}"]',
            port=self.port(service),
            soak=soak,
            deadline=deadline,
            more=more,
            run=run,
        )
        self.files[f"releases/{service}/{version}.yaml"] = text + (f"    - {probe}\n" if probe else "")

    def pin(self, value: str | None, service: str = "api") -> None:
        """Pin a version, or any YAML flow value; None removes the pin."""
        if value is None:
            self.pins.pop(service, None)
        else:
            self.pins[service] = value if value.startswith("{") else f'"{value}"'

    def commit(self, message: str = "Bump", **how: str) -> str:
        """Commit all that was written, on what was fetched last; the commit's id."""
        files, self.files = {ENVIRONMENT_FILE: self.environment()} | self.files, {}
        (self.ada.folder / "archives").mkdir(exist_ok=True)
        while self.archives:
            shutil.copy(self.archives.pop(), self.ada.folder / "archives")
        return self.ada.commit(files, message, environment=self.signing | how)

    def merge(self, message: str = "Bump", **how: str) -> str:
        """Commit all that was written on the remote's tip, and push it; the commit's id."""
        self.ada.pull_if_any()
        sha = self.commit(message, **how)
        self.ada.push()
        return sha

    def environment(self) -> str:
        """The environment file, as Ada means it to be."""
        lines = "".join(
            f"  {service}: {value}   # {service} here\n" for service, value in sorted(self.pins.items())
        )
        text = ENVIRONMENT.format(driver=self.driver_yaml, more=self.more, pins=lines)
        return text if lines else text.replace("pins:\n", "pins: {}\n")

    def bump(self, version: str, mode: Mode = "ok", service: str = "api", **release: Any) -> str:
        """Write a release, pin it and merge that; the commit's id."""
        self.release(version, mode, service=service, **release)
        self.pin(version, service)
        return self.merge(f"Bump {service} to {version}")

    def deploy_first(self, version: str = "1.0.0", *services: str) -> None:
        """Write, pin and merge a healthy first release of each service."""
        for service in services or ("api",):
            self.release(version, service=service)
            self.pin(version, service)
        self.merge(f"Start with {version}")

    def protect(self) -> Callable[[], int]:
        """Let nobody push to main any more; the answer counts how often that was tried."""
        log, hook = self.folder / "declined", self.remote / "hooks" / "update"
        log.touch()
        hook.write_text(PROTECTED.format(log=log))
        hook.chmod(0o755)
        return lambda: len(log.read_text().splitlines())

    def port(self, service: str = "api") -> int:
        if service not in self.ports:
            self.ports[service] = free_port()
        return self.ports[service]

    def tip(self) -> str:
        return git(self.remote, "rev-parse", "main")

    def pinned(self) -> str:
        """The environment file at the remote's tip."""
        return self.text(ENVIRONMENT_FILE)

    def text(self, path: str) -> str:
        """A file at the remote's tip."""
        return git(self.remote, "show", f"main:{path}") + "\n"

    def reverts(self) -> list[str]:
        """The commits on the remote's branch that carry an operation's trailer."""
        return git(self.remote, "log", "--format=%H", "--grep=^Ugs-Operation: ", "main").split()

    def text_of(self, commit: str) -> str:
        """A commit's message."""
        return git(self.remote, "log", "-1", "--format=%B", commit)

    def notes(self, commit: str) -> str:
        return git(self.remote, "notes", "--ref=ugs", "show", commit)
