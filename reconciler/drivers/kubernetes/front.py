"""The Service before the two sides of blue-green: it leads to the proven one alone, and is turned in one write.

With any other strategy, and while one side alone is there to be brought back, it leads to whatever of the service is
ready. Where it leads stands on its own label: so what somebody turned by hand is seen, and turned back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from reconciler.drivers.base import Cause
from reconciler.drivers.kubernetes import marks
from reconciler.drivers.kubernetes.objects import Service
from reconciler.drivers.kubernetes.rollout import Held
from reconciler.drivers.kubernetes.session import Work
from reconciler.model.errors import HostError
from reconciler.model.target import Target, Workload


class Lead(Struct, frozen=True):
    """A side, as a Service finds its pods."""

    target: Target
    colour: str = ""


TURN_S = 2.0
"""How long those who route to a Service get to hear of it, before what it led to is ended."""


def stands(work: Workload, there: Iterable[Held]) -> bool:
    """Whether there is to be one: blue-green of a service with a port, or what blue-green has left."""
    return (work.strategy == "blue-green" and work.port is not None) or any(one.front for one in there)


def see(at: Work, work: Workload) -> Service | None:
    """The Service of the service's name. Raises HostError for one that nobody has handed over to us."""
    found = at.place.service(work.service)
    if found is None or _is_ours(at, found, work.environment, work.service):
        return found
    said = f"{marks.ENVIRONMENT}={work.environment} {marks.SERVICE}={work.service}"
    makers = ", ".join(sorted({one.manager for one in found.metadata.managed_fields if one.manager}))
    raise HostError(
        f"the Service {work.service} in {at.place.name} is not ours: {makers or 'somebody else'} made it, "
        f"and blue-green turns it from one side to the other",
        f"hand it over: kubectl -n {at.place.name} label service {work.service} {said}; or rename it",
    )


def led_to(found: Service | None, there: Iterable[Held]) -> Held | None:
    """Which of the sides that are there it is to lead to alone."""
    said = _lead(found) if found else None
    return next(
        (one for one in there if said and (one.target, one.colour) == (said.target, said.colour)), None
    )


def lead(
    at: Work, cause: Cause, work: Workload, found: Service | None, to: Lead | None, *, dry: bool = False
) -> None:
    """Have it lead to the pods of one side, or (None) to all of the service. Made where there is none."""
    body = _body(at, cause, work, found, to)
    new = found is None or marks.SITE not in found.metadata.labels
    # What is handed over to us with its labels has an owner of its selector, who has just let it go.
    at.place.apply(
        body, force=found is not None and new, dry=dry, overrule=(*at.choice.engine.overrule, marks.MANAGER)
    )
    if dry:
        return
    said = at.place.services().get(work.service)
    wanted = body["spec"]["selector"]
    beyond = said.spec.selector.keys() - wanted.keys() if said else ()
    if beyond:  # somebody added to it, and would own that still
        at.place.patch("Service", work.service, {"spec": {"selector": dict.fromkeys(beyond)}})


def drifts(at: Work, environment: str, found: Iterable[Held]) -> dict[str, str]:
    """By service, what is no more as it was with the Service before it."""
    fronted = {one.service for one in found if one.front and at.is_ours(one, environment)}
    if not fronted:
        return {}
    known, told = at.place.services(), dict[str, str]()
    for service in fronted:
        one = known.get(service)
        if one is None or not _is_ours(at, one, environment, service):
            told[service] = f"somebody removed the Service {service}, or its labels"
        elif one.spec.selector != _selector(service, _lead(one)):
            said = ", ".join(f"{key}={value}" for key, value in sorted(one.spec.selector.items()))
            told[service] = f"somebody set spec.selector of the Service {service}: {said or 'nothing'}"
    return told


def remove(at: Work, environment: str, service: str) -> None:
    """The Service that we made; one that was handed over to us stays with those who made it."""
    found = at.place.service(service)
    if found is not None and _is_ours(at, found, environment, service) and _made(found):
        at.place.delete("Service", service, found.metadata.uid)


def wait() -> None:
    time.sleep(TURN_S)


def _body(at: Work, cause: Cause, work: Workload, found: Service | None, to: Lead | None) -> dict[str, Any]:
    said = marks.labels(at.id, cause, work)
    labels = {key: value for key, value in said.items() if key != marks.TARGET}
    selector = _selector(work.service, to)
    notes = {marks.VERSION: str(to.target.version)} if to else {}
    spec: dict[str, Any] = {"selector": selector}
    if found is None or _made(found):  # its ports are ours to say only where we made it
        main = {"name": "main", "port": work.port, "targetPort": work.port, "protocol": "TCP"}
        spec["ports"] = [main] if work.port is not None or found is None else found.spec.ports
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": work.service, "labels": labels | selector, "annotations": notes},
        "spec": spec,
    }


def _lead(found: Service) -> Lead | None:
    """Where it is to lead, as it says itself."""
    target = marks.target_of(found.metadata)
    return Lead(target, found.metadata.labels.get(marks.COLOUR, "")) if target else None


def _selector(service: str, to: Lead | None) -> dict[str, str]:
    """By the colour too, since two versions may be one and the same but for their number."""
    if to is None:
        return {marks.SERVICE: service}
    colour = {marks.COLOUR: to.colour} if to.colour else {}
    return {marks.SERVICE: service, marks.TARGET: to.target.digest} | colour


def _is_ours(at: Work, found: Service, environment: str, service: str) -> bool:
    """By our labels; handed over: with those of the environment and the service, which people can set."""
    said = found.metadata.labels
    return (
        said.get(marks.SITE, at.id) == at.id
        and said.get(marks.ENVIRONMENT) == environment
        and said.get(marks.SERVICE) == service
    )


def _made(found: Service) -> bool:
    mine = (one for one in found.metadata.managed_fields if one.manager == marks.MANAGER)
    return any("f:ports" in one.fields.get("f:spec", {}) for one in mine)
