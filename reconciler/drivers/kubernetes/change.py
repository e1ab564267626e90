"""Making it so: what is created, applied and removed for one workload, in an order that may stop anywhere."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from secrets import token_bytes
from typing import Any

from msgspec import Struct

from reconciler.clock import SystemClock
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.kubernetes import body, files, marks, rollout
from reconciler.drivers.kubernetes.api import Conflict
from reconciler.drivers.kubernetes.namespace import Around, Namespace, open_namespace
from reconciler.drivers.kubernetes.options import Choice, choice
from reconciler.drivers.kubernetes.rollout import Held
from reconciler.drivers.mark import site_id
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError, TransientError
from reconciler.model.target import Workload

TRIES = 5
"""How often a change is begun anew that somebody else's came before."""
LOOK_S = 0.1
ENDING_MARGIN_S = 60.0
KEY_BYTES = 32
DIGITS = 10


class Work(Struct, frozen=True):
    """What one change works with."""

    site: Site
    choice: Choice
    place: Namespace
    id: str

    def is_ours(self, held: Held, environment: str) -> bool:
        return marks.is_ours(held.labels, self.id, environment)


def begin(site: Site) -> Work:
    chosen = choice(site)
    return Work(site, chosen, open_namespace(chosen), site_id(site.state))


def make_so(at: Work, cause: Cause, work: Workload, upto: int) -> None:
    """Create what the pods refer to, then apply the workload; the engine does the rest."""
    manifest = files.kept_manifest(at.site, work)
    kind = files.kind_of(manifest)
    _end_other_kinds(at, work, kind)
    names = _hold(at, cause, work)
    for tried in range(TRIES):
        around = at.place.around(kind, work.service)
        _check_ours(at, cause, work, around)
        try:
            if around is not None:
                adopting = not at.is_ours(around.held, work.environment)
                overrule = ("*",) if adopting else at.choice.engine.overrule
                at.place.take_over(kind, work.service, around, overrule)
            at.place.apply(body.workload(cause, work, upto, _around(at, around, names), manifest))
        except Conflict:
            if tried + 1 == TRIES:
                raise
        else:
            return


def try_out(at: Work, work: Workload) -> None:
    """Have the server judge the workload and change nothing: rights, quota, admission, every field, other owners."""
    manifest = files.kept_manifest(at.site, work)
    kind = files.kind_of(manifest)
    around = at.place.around(kind, work.service)
    if around is not None and not at.is_ours(around.held, work.environment):
        return  # whether it may be taken over is a person's to say, and comes before this
    cause = Cause("preflight")
    # It is judged before there are any: by names that could be theirs.
    names = {"secret": f"{work.service}-env"} if body.secret_names(work) else {}
    sent = body.workload(cause, work, work.instances, _around(at, around, names), manifest)
    at.place.apply(sent, dry=True, overrule=at.choice.engine.overrule)


def unstick(at: Work, good: Workload) -> None:
    """A StatefulSet waits for ever for a pod that never gets ready, even when its template is a good one again."""
    held = at.place.there(good.service)
    if held is None or held.kind != "StatefulSet":
        return
    for pod in at.place.pods_by_service().get(good.service, []):
        if (
            held.selector.items() <= pod.labels.items()
            and pod.target != good.target
            and pod.state != "running"
        ):
            at.place.delete("Pod", pod.name, pod.uid)


def remove(at: Work, environment: str, service: str) -> None:
    """Stop the service altogether, and see it gone, pods included. Raises TransientError while it is not."""
    grace_s = 0.0
    for held in _ours(at, environment, service):
        at.place.delete(held.kind, held.name, held.uid)
        grace_s = ENDING_MARGIN_S
    _until_gone(at, environment, service, grace_s)
    tidy(at, environment, service, frozenset())


def tidy(at: Work, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the Secrets and ConfigMaps of targets that are neither kept nor in a template."""
    kept = {text.rpartition("@")[2] for text in keep}
    kept |= {held.target.digest for held in _ours(at, environment, service) if held.target}
    for kind in ("Secret", "ConfigMap"):
        for name, labels in at.place.names(kind, marks.identity(at.id, environment, service)):
            if labels.get(marks.TARGET) not in kept:
                at.place.delete(kind, name)


def rename(at: Work, old: str, new: str) -> None:
    """The objects get the new name; their pods keep the old one, as they would be started anew with another."""
    for held in at.place.workloads():
        if at.is_ours(held, old):
            at.place.relabel(held.kind, held.name, {marks.ENVIRONMENT: new})
    mine = {marks.MANAGED_BY: marks.MANAGER, marks.SITE: at.id, marks.ENVIRONMENT: old}
    for kind in ("Secret", "ConfigMap"):
        for name, _ in at.place.names(kind, mine):
            at.place.relabel(kind, name, {marks.ENVIRONMENT: new})


def _ours(at: Work, environment: str, service: str) -> list[Held]:
    return [
        held for held in at.place.workloads() if held.service == service and at.is_ours(held, environment)
    ]


def _end_other_kinds(at: Work, work: Workload, kind: str) -> None:
    """A release that is another kind of workload than the one before: the old one goes first."""
    others = [held for held in _ours(at, work.environment, work.service) if held.kind != kind]
    for held in others:
        at.place.delete(held.kind, held.name, held.uid)
    if others:
        _until_gone(at, work.environment, work.service, ENDING_MARGIN_S, but=kind)


def _until_gone(at: Work, environment: str, service: str, limit_s: float, *, but: str = "") -> None:
    clock = SystemClock()
    deadline_s = clock.monotonic() + limit_s
    while left := [held for held in _ours(at, environment, service) if held.kind != but]:
        if clock.monotonic() >= deadline_s:
            raise TransientError(
                f"the {left[0].kind} {service} in {at.place.name} is still being ended",
                "it is looked at again",
            )
        time.sleep(LOOK_S)


def _check_ours(at: Work, cause: Cause, work: Workload, around: Around | None) -> None:
    if around is None:
        return
    if not at.is_ours(around.held, work.environment) and not cause.adopted:
        what = rollout.foreign(around.held, at.id)
        raise HostError(what, f"let it be taken over with `ugs adopt`, or remove it from {at.place.name}")
    if around.held.deleting:
        raise TransientError(f"{around.held.kind} {work.service} is still being ended", "it is tried again")


def _around(at: Work, around: Around | None, names: dict[str, str]) -> body.Around:
    held = around.held if around else None
    return body.Around(
        site=at.id,
        selector=held.selector if held else {},
        container=around.container if around else "",
        **names,
    )


def _hold(at: Work, cause: Cause, work: Workload) -> dict[str, str]:
    """Create the Secrets and the ConfigMap that the pods need; by what each is for, its name."""
    names: dict[str, str] = {}
    wanted = body.secret_names(work)
    if wanted:
        read = at.site.secret
        values = {key: read(name, work.environment, work.service) for key, name in wanted.items()}
        names["secret"] = f"{work.service}-env-{_keyed(at.site, values)}"
        at.place.apply(body.secret(cause, work, at.id, names["secret"], values), force=True)
    if texts := files.config_texts(work):
        names["config"] = f"{work.service}-files-{_digest(texts)}"
        at.place.apply(body.config_map(cause, work, at.id, names["config"], texts), force=True)
    host = (work.release.artifact.image or "").partition("/")[0]
    if registry := at.site.registries.get(host):
        login = registry.username, registry.password()
        names["pull_secret"] = f"{work.service}-registry-{_keyed(at.site, [host, *login])}"
        at.place.apply(body.pull_secret(cause, work, at.id, names["pull_secret"], host, login), force=True)
    return names


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _keyed(site: Site, value: Any) -> str:
    """Names an object by the secrets in it, so that nobody who sees the name can try out what they are."""
    text = json.dumps(value, sort_keys=True).encode()
    return hmac.new(_key(site), text, hashlib.sha256).hexdigest()[:DIGITS]


def _key(site: Site) -> bytes:
    """A key of this daemon's own. Were it lost, the pods would be started anew with the next change: no more."""
    path = site.state / "kubernetes.key"
    with host_trouble("keep the key that names secrets"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            key = token_bytes(KEY_BYTES)
            new = path.with_suffix(".new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, key)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            new.replace(path)
            return key
