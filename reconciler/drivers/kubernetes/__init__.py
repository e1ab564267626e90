"""The Kubernetes driver: services as Deployments, StatefulSets and DaemonSets, by server-side apply.

What runs is read from a cache that watches keep up to date; what is made goes out as one apply of the whole object,
under our own field manager. Who changed what by hand is the server's to know: it keeps account of every field.
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from reconciler.drivers.alias import name_too
from reconciler.drivers.base import Cause, Endpoint, Site, Surroundings, hears_no_stranger, measures_nothing
from reconciler.drivers.kubernetes import change, files, front, images, material, pods, rollout
from reconciler.drivers.kubernetes.rollout import Held
from reconciler.drivers.kubernetes.session import Work, begin
from reconciler.drivers.kubernetes.sides import BESIDE
from reconciler.drivers.layout import environment_folder
from reconciler.drivers.render import instance_values
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.observation import Instance, Observation
from reconciler.model.redaction import redacted
from reconciler.model.target import Workload

ROOT = Path("/")
KINDS = {"blue-green": ("Deployment",), "canary": ("Deployment", "StatefulSet")}
TAILS_MAX = 3
"""How many crashed pods' last words one look asks for: the rest come with the next."""

foreign_listener = hears_no_stranger
usage = measures_nothing


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """Every workload of ours in the namespace, and under the names of others what is not ours."""
    at = begin(site)
    found, pods_of, tails = dict[str, Observation](), at.place.pods_by_service(), TAILS_MAX
    workloads = at.place.workloads()
    turned = front.drifts(at, environment, workloads)
    for held in workloads:
        if at.is_ours(held, environment):
            mine = pods_of.get(held.service, [])
            seen = rollout.observation(held, mine)
            if tails and any(one.state == "crashed" for one in seen.instances):
                tails -= 1
                seen = _with_last_words(at, environment, held, mine, seen)
            if drift := turned.get(held.service):
                told = (replace(one, drift=one.drift or drift) for one in seen.instances)
                seen = replace(seen, instances=tuple(told))
        else:
            seen = Observation(held.name, foreign=rollout.foreign(held, at.id))
        before = found.get(seen.service, Observation(seen.service))
        found[seen.service] = Observation(
            seen.service, before.instances + seen.instances, before.foreign or seen.foreign
        )
    return found


def prepare(site: Site, work: Workload, revision: str) -> None:
    """Keep the manifest, if there is one, and see that the image exists. It is pulled by the nodes."""
    image = work.release.artifact.image
    if image is None:
        raise ArtifactError(
            f"{work.release.place}: artifact: the kubernetes driver needs an image", "add artifact.image"
        )
    files.check_container(work)
    files.keep_manifest(site, work, revision)
    images.check(image, site.registries, work)


def preflight(site: Site, work: Workload) -> None:
    """Have the server judge what would be applied, without doing it."""
    at = begin(site)
    kind = files.kind_of(files.kept_manifest(site, work))
    if work.strategy in BESIDE and kind not in KINDS[work.strategy]:
        raise HostError(
            f"{work.place}: a {kind} cannot do {work.strategy}: that needs a {' or '.join(KINDS[work.strategy])}",
            "pin the strategy rolling, or another release",
        )
    change.try_out(at, work)


def restorable(site: Site, work: Workload) -> str:
    """Empty when all that its object is made of is kept here; whether its image still exists, nobody knows."""
    return files.missing(site, work)


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:
    """Apply the workload; of a StatefulSet, the first `upto` pods take on the new template. With blue-green, and a
    canary of a Deployment, it is one beside the old one."""
    change.make_so(begin(site), cause, work, upto)


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """Turn back to the side that was there, or apply the old template again, which brings its ReplicaSet back; None
    removes the workload."""
    at = begin(site)
    if good is None:
        change.remove(at, environment, service)
        return
    change.bring_back(at, cause, good)


def settle(site: Site, work: Workload) -> None:
    """Turn the Service to the side that is proven, and end the other; of other strategies nothing is left."""
    change.settle(begin(site), work)


def rename(site: Site, old: str, new: str) -> None:
    """The objects get the new name, and their manifests stay where they are, under both."""
    change.rename(begin(site), old, new)
    name_too(environment_folder(site, old), new)


def endpoints(site: Site, work: Workload) -> tuple[Endpoint, ...]:
    """The address of every pod of the target that has one."""
    at = begin(site)
    placed, mine = dict[int, pods.Seen](), at.place.pods_by_service().get(work.service, [])
    for held in at.ours(work.environment, work.service):
        placed |= rollout.places(held, work.target, mine)
    return tuple(
        Endpoint(index, work.port, ROOT, instance_values(work, index, ROOT, work.port, pod.ip))
        for index, pod in sorted(placed.items())
        if pod.ip and index < work.instances
    )


def surroundings(_site: Site, work: Workload) -> Surroundings:
    """Commands are refused when a release that has them is read."""
    raise HostError(f"{work.place}: the kubernetes driver runs no commands", "pin a release without them")


def logs(site: Site, environment: str, service: str, *, lines: int) -> list[str]:
    """The last lines of every pod, of several each under its name; of one that crashed, those before its end."""
    at = begin(site)
    if not at.ours(environment, service):
        return []
    mine = [pod for pod in at.place.pods_by_service().get(service, []) if not pod.gone]
    told: list[str] = []
    for pod in mine:
        if len(mine) > 1:
            told.append(f"==> {pod.name} <==")
        crashed = pod.state == "crashed" and pod.restarts > 0
        told += at.place.log(pod.name, lines=lines, container=pod.container, previous=crashed)
    return told


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the Secrets, ConfigMaps and manifests of targets that are not kept."""
    material.tidy(begin(site), environment, service, keep)
    files.tidy(site, environment, service, keep)


def _with_last_words(
    at: Work, environment: str, held: Held, mine: list[pods.Seen], seen: Observation
) -> Observation:
    """Evidence: what the container wrote before it ended, without the secrets that it was given."""
    crashed = next((pod for pod in mine if pod.state == "crashed" and pod.container), None)
    words = at.place.tail(crashed) if crashed else ""
    if not words or crashed is None:
        return seen
    try:
        secrets = [at.site.secret(name, environment, held.service) for name in held.secrets]
    except HostError:  # what cannot be known cannot be masked
        return seen
    said = redacted(words, secrets)

    def told(one: Instance) -> Instance:
        named = one.state == "crashed" and one.detail == crashed.detail
        return replace(one, detail=f"{one.detail}; its last words: {said}") if named else one

    return replace(seen, instances=tuple(map(told, seen.instances)))
