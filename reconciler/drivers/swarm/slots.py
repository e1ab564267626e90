"""From tasks to instances. A slot is a replica's place: its tasks follow one another in it, one alive as a rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from reconciler.drivers.labels import PREFIX, target_in
from reconciler.drivers.swarm.fingerprint import MADE, changed
from reconciler.drivers.swarm.wire import Node, Service, Task
from reconciler.model.observation import Instance, Observation
from reconciler.model.target import Target

UPTO = f"{PREFIX}upto"
"""The label that says how many of a service's instances are meant to run its target by now."""
ENDED = frozenset({"complete", "failed", "rejected"})
"""What a task comes to by itself; one that Swarm stopped comes to `shutdown`."""
CRASHES_MIN = 2
"""A task may end because its node does. Swarm starts another, and when that ends too it is the service's doing."""
REFUSALS_MIN = 3
HOST_WORDS = (
    "already allocated",
    "already in use",
    "external connectivity",
    "no space left",
    "cannot allocate memory",
)
"""In what a node says when it cannot start a container, and no container could be."""
UNPLACED = "no suitable node"


class Slot(Struct, frozen=True):
    """`tasks`: newest first, those that ended included."""

    number: int
    tasks: tuple[Task, ...]

    @property
    def live(self) -> tuple[Task, ...]:
        return tuple(task for task in self.tasks if task.is_live)

    def head(self, target: Target) -> Task | None:
        """The newest live task of a target."""
        return next((task for task in self.live if task.target == target), None)

    def ended(self, target: Target) -> list[Task]:
        """How the target's last tasks before the head ended, newest first, as far back as nothing else was between."""
        found = []
        for task in self.tasks:
            if task.is_live and task.target == target:
                continue
            if task.target != target or task.status.state not in ENDED:
                break
            found.append(task)
        return found


def slots_of(service: Service, tasks: Iterable[Task], first: Target | None) -> list[Slot]:
    """The slots in which something lives; those that run `first` come first, so that they are instances 0, 1, …"""
    by_number: dict[int, list[Task]] = {}
    for task in tasks:
        if task.service_id == service.id:
            by_number.setdefault(task.slot, []).append(task)
    found = [
        Slot(number, tuple(sorted(those, key=lambda task: task.created_at, reverse=True)))
        for number, those in by_number.items()
    ]
    alive = [slot for slot in found if slot.live]
    return sorted(alive, key=lambda slot: (first is None or slot.head(first) is None, slot.number))


def observations(
    site: str, environment: str, names: Collection[str], services: Iterable[Service], tasks: Iterable[Task]
) -> dict[str, Observation]:
    """What is ours of an environment, and what only has the name that ours would have.

    `names`: the environment's own, and those that it had before.
    """
    seen: dict[str, Observation] = {}
    prefix = f"{environment}_"
    tasks = list(tasks)
    for service in sorted(services, key=lambda one: is_ours(one, site, names)):
        if is_ours(service, site, names):
            name = service.labels[f"{PREFIX}service"]
            before = seen.get(name, Observation(name))  # of strangers, or of the other side
            instances = (*before.instances, *instances_of(service, tasks))
            seen[name] = Observation(name, instances, before.foreign)
        elif service.name.startswith(prefix):
            name = service.name.removeprefix(prefix)
            seen[name] = Observation(name, foreign=foreign(service))
    return {name: one for name, one in seen.items() if one.instances or one.foreign}


def is_ours(service: Service, site: str, names: Collection[str]) -> bool:
    """By its labels alone: whoever has only the name of one of ours may be anybody's."""
    said = service.labels
    return (
        said.get(f"{PREFIX}site") == site
        and said.get(f"{PREFIX}environment") in names
        and f"{PREFIX}service" in said
    )


def foreign(service: Service) -> str:
    """The sentence about a service that is not ours."""
    theirs = service.labels.get(f"{PREFIX}site")
    if theirs is None:
        return f"someone else made the service {service.name}"
    where = service.labels.get(f"{PREFIX}environment", "?")
    return f"the service {service.name} is not ours: it is of the environment {where} of another UGS (site {theirs})"


def instances_of(service: Service, tasks: Iterable[Task]) -> tuple[Instance, ...]:
    """Every live target of every slot; and for slots whose turn is still to come in an update, what is to be there."""
    wanted = target_in(service.labels)
    drift = changed(service.spec, service.labels.get(MADE, ""))
    drift = f"changed by hand: {drift}" if drift else ""
    upto = _upto(service)
    found: list[Instance] = []
    for index, slot in enumerate(slots_of(service, tasks, wanted)):
        targets = dict.fromkeys(task.target for task in slot.live if task.target)
        found += [_instance(index, slot, target, drift) for target in targets]
        if wanted and wanted not in targets and index < upto:
            paused = service.update.state == "paused"
            why = service.update.message if paused else "its turn in the update has not come"
            found.append(Instance(index, wanted, "starting", detail=why, drift=drift))
    return tuple(found)


def landed(slots: Iterable[Slot], target: Target) -> int:
    """In how many slots the target runs."""
    heads = (slot.head(target) for slot in slots)
    return sum(head is not None and head.status.state == "running" for head in heads)


def crashed(slots: Iterable[Slot], target: Target) -> bool:
    """Whether the target keeps ending in some slot."""
    return any(_crashes(slot, target) for slot in slots)


def refused(slots: Iterable[Slot], target: Target, nodes: Mapping[str, Node]) -> str:
    """What keeps a node from running the target that is no fault of it, as a sentence; empty when nothing does."""
    for slot in slots:
        those = [task for task in slot.ended(target) if _is_hosts(task)]
        if len(those) >= REFUSALS_MIN:
            node = nodes.get(those[0].node_id)
            return f"{node.name if node else 'a node'} cannot run it: {those[0].status.error}"
    return ""


def unplaced(slots: Iterable[Slot], target: Target, nodes: Mapping[str, Node]) -> str:
    """Why no node takes an instance, as a sentence; empty when each has its place, or a lost node may come back.

    For a moment it is so in many an update: until the old instance has made room.
    """
    if not all(node.is_ready for node in nodes.values()):
        return ""
    heads = ((slot.number, slot.head(target)) for slot in slots)
    said = (
        f"instance {number} has no place: {head.status.error}"
        for number, head in heads
        if head and UNPLACED in head.status.error
    )
    return next(said, "")


def _instance(index: int, slot: Slot, target: Target, drift: str) -> Instance:
    head = slot.head(target)
    if head is None:
        raise RuntimeError(f"slot {slot.number} has nothing of {target}")
    ended = slot.ended(target)
    if head.status.state == "running":
        again = f"{_last_words(ended[0])} (started again)" if ended else ""
        return Instance(index, target, "running", started_at=head.status.at, detail=again, drift=drift)
    if _crashes(slot, target):
        return Instance(index, target, "crashed", detail=_last_words(ended[0]), drift=drift)
    detail = head.status.error or head.status.message or head.status.state
    return Instance(index, target, "starting", detail=detail, drift=drift)


def _crashes(slot: Slot, target: Target) -> bool:
    head = slot.head(target)
    if head is None or head.status.state == "running":
        return False
    return sum(not _is_hosts(task) for task in slot.ended(target)) >= CRASHES_MIN


def _is_hosts(task: Task) -> bool:
    """`rejected` is what a node says that could not even make the container: no image, no network, no mount."""
    return task.status.state == "rejected" or any(word in task.status.error for word in HOST_WORDS)


def _last_words(task: Task) -> str:
    said = task.status.error or task.status.message
    return f"it ended with exit code {task.status.container.exit_code}: {said}"


def _upto(service: Service) -> int:
    text = service.labels.get(UPTO, "")
    return int(text) if text.isdecimal() else service.replicas
