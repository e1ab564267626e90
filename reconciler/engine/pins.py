"""The pins of an environment at a commit: found, put back, and told of in the commit that does so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct

from reconciler.git import Mirror
from reconciler.model import splice
from reconciler.model.errors import InputError, UgsError
from reconciler.model.flags import switched
from reconciler.model.range import Range
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import OPERATION_TRAILER, Upgrade
from reconciler.model.version import Version

LINE_MAX = 300
UNCHANGED = "the pin already says what it said when the old version was healthy"


class Edits(Struct, frozen=True):
    """`files`: those that change. `left`: by service whose pin stays as it is, why."""

    files: dict[str, bytes | None]
    left: dict[str, str]
    needs_person: bool


def edit(mirror: Mirror, tip: str, upgrade: Upgrade) -> Edits:
    """Last-good's nodes where the failed ones stand, of the upgrade and its companions, where they still do."""
    files = dict(environment_files(mirror, tip, upgrade.environment))
    old = dict(files)
    own = _put_back(files, upgrade.service, *_nodes(upgrade))
    told = {upgrade.service: f"{own}{_flags_left(upgrade)}" if own == UNCHANGED else own}
    for one in reversed(upgrade.companions):  # what is needed before what needs it
        try:
            if one.needs and all(_pins(files, name, wanted) for name, wanted in one.needs.items()):
                told[one.service] = "what it needs is pinned again"
            else:
                told[one.service] = _put_back(files, one.service, one.pinned, one.back)
        except UgsError as error:
            told[one.service] = f"the pin could not be reverted: {error}"
    left = {service: why for service, why in told.items() if why}
    return Edits({path: data for path, data in files.items() if data != old[path]}, left, own == UNCHANGED)


class Moved(Struct, frozen=True):
    """`files`: those that change. `left`: services whose pin does not stand there as it was taken to."""

    files: dict[str, bytes]
    left: frozenset[str]


def moved(
    mirror: Mirror, tip: str, environment: str, to: Mapping[str, Version], stands: Callable[[str, str], bool]
) -> Moved:
    """The pins of services moved to these versions at a tip, each where it `stands` (service, its value as JSON) as
    whoever asks for it has seen it. Raises UgsError."""
    files = dict(environment_files(mirror, tip, environment))
    old, left = dict(files), set[str]()
    for service, version in to.items():
        found = find_pin(files.items(), service)
        if found is None or not stands(service, found[2]):
            left.add(service)
            continue
        path, data, _ = found
        files[path] = splice.set_version(data, path, service, version.text)
    return Moved({path: data for path, data in files.items() if data != old[path]}, frozenset(left))


def left_by(mirror: Mirror, commit: str, upgrade: Upgrade) -> dict[str, str]:
    """By service whose pin this commit, a revert made earlier, did not put back: that it did not."""
    made = mirror.described(commit)
    was = environment_files(mirror, made.parents[0], upgrade.environment)
    now = environment_files(mirror, commit, upgrade.environment)
    wanted = {one.service: (one.pinned, one.back) for one in upgrade.companions}
    return {
        service: "the pin was moved meanwhile"
        for service, nodes in ({upgrade.service: _nodes(upgrade)} | wanted).items()
        if nodes[0] == nodes[1] or (_node(was, service), _node(now, service)) != nodes
    }


def find_pin(files: Iterable[tuple[str, bytes]], service: str) -> tuple[str, bytes, str] | None:
    """The file that pins a service, its bytes, and the pin's value as JSON; None when no file does.

    Raises InputError when none that can be read does, and another might.
    """
    unreadable: InputError | None = None
    for path, data in files:
        try:
            node = splice.pin_node(data, path, service)
        except InputError as error:
            unreadable = error
            continue
        if node is not None:
            return path, data, node
    if unreadable is not None:
        raise unreadable
    return None


def version_in(node: str) -> str:
    """The version that a pin's value (JSON) names; empty for none."""
    value = msgspec.json.decode(node)
    return str(value.get("version", "") if isinstance(value, dict) else value)


def environment_files(mirror: Mirror, tip: str, environment: str) -> list[tuple[str, bytes]]:
    """(path, bytes) of the regular files that make up an environment at a commit."""
    paths = (f"environments/{environment}.yaml", f"environments/{environment}/")
    return [
        (entry.path, mirror.blob(entry.oid))
        for entry in mirror.entries(tip, ["environments"])
        if entry.mode.startswith("100") and entry.path.endswith(".yaml") and entry.path.startswith(paths)
    ]


def message(upgrade: Upgrade, left: Mapping[str, str]) -> str:
    """The commit message: what happened, in words, and in trailers for machines. `left`: pins not put back."""
    failed, good = _required(upgrade.after, upgrade), upgrade.before
    moved = [one for one in upgrade.companions if one.service not in left]
    back = f"to {good.target.version}" if good else "(its first deployment)"
    if upgrade.service in left:
        title = f"Put {upgrade.environment} back with {upgrade.service} {failed.target.version}"
        now = f"{left[upgrade.service]}, and is left alone"
    else:
        title = f"Revert {upgrade.environment}/{upgrade.service} {back}"
        now = f"{good.target.version} runs again" if good else "it is stopped, and its pin is removed"
        now = "a person has to look at what runs" if upgrade.needs_person else now
        if moved:
            title += f", and {moved[0].service if len(moved) == 1 else f'{len(moved)} more'} with it"
    with_it = [
        f"- {one.service} {one.failed.version} to {one.restored.version if one.restored else 'none'}: {_line(one.why)}"
        for one in moved
    ]
    return "\n".join(
        (
            title,
            "",
            f"{failed.target.version} failed: {_line(upgrade.reason)}",
            f"{now[0].upper()}{now[1:]}. `ugs retry {upgrade.environment} {upgrade.service}` tries it once more.",
            *(("", "Put back with it:", *with_it) if with_it else ()),
            "",
            f"Reverts: {upgrade.revision}",
            f"{OPERATION_TRAILER}: {upgrade.operation}",
            f"Ugs-Environment: {upgrade.environment}",
            f"Ugs-Service: {upgrade.service}",
            f"Ugs-From: {failed.target}",
            f"Ugs-To: {_target(good.target if good else None)}",
            *(f"Ugs-With: {one.service} {one.failed} {_target(one.restored)}" for one in moved),
            f"Ugs-Reason: {_line(upgrade.reason)}",
            "",
        )
    )


def _put_back(files: dict[str, bytes], service: str, failed: str, good: str | None) -> str:
    """Put the pin `good` (None: no pin) where `failed` stands; why not, where it does not stand there."""
    found = find_pin(files.items(), service)
    if found is None:
        return "the pin was removed meanwhile"
    path, data, node = found
    if node != failed:
        return "the pin was moved meanwhile"
    if good == failed:
        return UNCHANGED
    files[path] = (
        splice.remove_pin(data, path, service) if good is None else splice.set_pin(data, path, service, good)
    )
    return ""


def _flags_left(upgrade: Upgrade) -> str:
    """What a person has to look at: a flag is the environment's, and other services may do well with it."""
    if upgrade.before is None or upgrade.pinned is None:
        return ""
    names = [one.name for one in switched(upgrade.before.flags, upgrade.pinned.flags)]
    return f"; look at the flags in its environment: {', '.join(names)}" if names else ""


def _pins(files: Mapping[str, bytes], service: str, wanted: str) -> bool:
    """Whether a version in the range is pinned."""
    node = _node(files.items(), service)
    try:
        version = Version(version_in(node) if node else "")
    except ValueError:
        return False
    return Range.parse(wanted).contains(version)


def _node(files: Iterable[tuple[str, bytes]], service: str) -> str | None:
    """The pin's value as JSON; None where there is none that can be read."""
    try:
        found = find_pin(files, service)
    except InputError:
        return None
    return found[2] if found else None


def _nodes(upgrade: Upgrade) -> tuple[str, str | None]:
    """The pin that failed, and the one to put back."""
    return _required(upgrade.pinned, upgrade).node, upgrade.before.node if upgrade.before else None


def _target(target: Target | None) -> str:
    return str(target) if target else "none"


def _line(text: str) -> str:
    """One printable line of bounded length: what a service answered must not write trailers of its own."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LINE_MAX]


def _required(work: Workload | None, upgrade: Upgrade) -> Workload:
    if work is None:
        raise RuntimeError(f"{upgrade.operation}: a removal is never reverted")
    return work
