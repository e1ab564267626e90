"""The labels that everything of ours carries, and how an object says whose it is and what it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.drivers.base import Cause
from reconciler.drivers.kubernetes.objects import Meta, TemplateMeta
from reconciler.model.target import Target, Workload
from reconciler.model.version import Version

MANAGER = "ugs"
"""Our name among the managers of fields."""
PREFIX = "ugs/"
SITE, ENVIRONMENT, SERVICE, TARGET = (
    f"{PREFIX}{key}" for key in ("site", "environment", "service", "target")
)
VERSION, OPERATION, REVISION = (f"{PREFIX}{key}" for key in ("version", "operation", "revision"))
INSTANCES, SECRETS = f"{PREFIX}instances", f"{PREFIX}secrets"
COLOUR = f"{PREFIX}colour"
"""On a Deployment that was made beside another of the service, and on its pods: which side they are."""
FRONT = f"{PREFIX}front"
"""The annotation of a Deployment before which a Service of ours stands."""
MANAGED_BY = "app.kubernetes.io/managed-by"
_NO_LABEL = re.compile(r"[^A-Za-z0-9._-]")
LABEL_MAX = 63


def label(text: str) -> str:
    """Text as a label's value: what may not stand there is a hyphen, and the rest is cut."""
    return _NO_LABEL.sub("-", text)[:LABEL_MAX].strip("-._")


def identity(site: str, environment: str, service: str) -> dict[str, str]:
    """What never changes of a service: how its objects are found."""
    return {MANAGED_BY: MANAGER, SITE: site, ENVIRONMENT: environment, SERVICE: service}


def labels(site: str, cause: Cause, work: Workload) -> dict[str, str]:
    """On every object that is made for `work`."""
    own = identity(site, work.environment, work.service) | {
        TARGET: work.target.digest,
        OPERATION: label(cause.operation),
        REVISION: label(cause.revision),
    }
    return {key: value for key, value in own.items() if value}


def pod_labels(site: str, work: Workload) -> dict[str, str]:
    """On pods: nothing that differs when the same target is brought back, or they would be started anew."""
    return identity(site, work.environment, work.service) | {TARGET: work.target.digest}


def notes(work: Workload) -> dict[str, str]:
    """The version in full, which a label cannot always hold."""
    return {VERSION: str(work.target.version)}


def target_of(meta: Meta | TemplateMeta) -> Target | None:
    """What an object says that it is of; None for one that is not ours."""
    version, digest = meta.annotations.get(VERSION, ""), meta.labels.get(TARGET, "")
    try:
        return Target(Version(version), digest) if version and digest else None
    except ValueError:
        return None


def is_ours(found: Mapping[str, str], site: str, environment: str) -> bool:
    """By an object's labels."""
    return found.get(SITE) == site and found.get(ENVIRONMENT) == environment
