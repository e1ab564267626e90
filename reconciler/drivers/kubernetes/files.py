"""What of a release is no image: the team's own manifest, kept for the day it is brought back, and config files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import PurePath
from typing import Any, cast

from reconciler.drivers.base import Site
from reconciler.drivers.kubernetes import manifest
from reconciler.drivers.kubernetes.options import choice
from reconciler.drivers.kubernetes.rollout import Kind
from reconciler.drivers.layout import directory_of, service_folder
from reconciler.drivers.render import as_text
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.target import Workload

MANIFEST = "manifest.yaml"


def check_container(work: Workload) -> None:
    """Raise ArtifactError for what `run.container` asks of Docker alone: a manifest says it for Kubernetes."""
    said = work.release.run.container if work.release.run else None
    if said is None:
        return
    asked = {"mounts": said.mounts, "tmpfs": said.tmpfs, "secrets: files": said.secrets == "files"}
    asked["user (a name)"] = said.user is not None and not said.user.isdecimal()
    if beyond := [name for name, value in asked.items() if value]:
        raise ArtifactError(
            f"{work.release.place}: run.container: the kubernetes driver has no {', '.join(beyond)}",
            "say it in a manifest of your own (artifact.kubernetes), in a new release",
        )


def keep_manifest(site: Site, work: Workload, revision: str) -> None:
    """Read the manifest from the repository, see that it is the one that was meant, and keep it.

    Raises ArtifactError for another one, or one that can never be applied; HostError for what ugs.yaml forbids.
    """
    named = work.release.artifact.kubernetes
    if named is None:
        return
    data = site.blob(revision, named.path)
    found = hashlib.sha256(data).hexdigest()
    if found != named.sha256:
        raise ArtifactError(
            f"{work.release.place}: artifact.kubernetes: {named.path} has the sha256 {found}, not {named.sha256}",
            "a new release names the new content",
        )
    allowed = choice(site).engine.allow
    for word, where in manifest.reaches(manifest.parse(data, work)):
        if word not in allowed:
            raise HostError(
                f"{named.path}: {where} reaches beyond the service's own pods, and ugs.yaml does not allow it",
                f"add {word} to engines.kubernetes.allow, or remove it in a new release",
            )
    path = directory_of(site, work) / MANIFEST
    with host_trouble("keep the manifest"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.replace(path)


def kept_manifest(site: Site, work: Workload) -> dict[str, Any] | None:
    """The team's own manifest; None for a release without one. Raises HostError when it is not kept any more."""
    if work.release.artifact.kubernetes is None:
        return None
    if reason := missing(site, work):
        raise HostError(reason, "let it be prepared again")
    with host_trouble("read the manifest that was kept"):
        return manifest.parse((directory_of(site, work) / MANIFEST).read_bytes(), work)


def missing(site: Site, work: Workload) -> str:
    """Why `work` could not be brought back; empty when it could."""
    named, path = work.release.artifact.kubernetes, directory_of(site, work) / MANIFEST
    if named is None:
        return ""
    with host_trouble("read the manifest that was kept"):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == named.sha256:
            return ""
    return f"the manifest of {work.service} {work.target} is not kept in {path}"


def kind_of(body: dict[str, Any] | None) -> Kind:
    return cast(Kind, body["kind"]) if body else "Deployment"


def config_texts(work: Workload) -> dict[str, str]:
    """By path, each config file: an image has no template to fill, so the values are written as its suffix says."""
    return {
        file.path: _written(
            PurePath(file.path).suffix, {key: work.config[key] for key in sorted(file.values)}
        )
        for file in work.release.config
    }


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the manifests of targets that are not kept."""
    with host_trouble(f"tidy {service}"):
        for folder in service_folder(site, environment, service).glob("*/*"):
            if f"{folder.parent.name}@{folder.name}" not in keep:
                shutil.rmtree(folder)


def _written(suffix: str, values: dict[str, Any]) -> str:
    if suffix in (".json", ".yaml", ".yml"):
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"
    if suffix == ".toml":
        lines = [
            f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items() if value is not None
        ]
    else:
        lines = [f"{key}={as_text(value)}" for key, value in values.items()]
    return "".join(f"{line}\n" for line in lines)
