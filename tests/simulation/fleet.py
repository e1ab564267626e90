"""The repository of a simulated fleet: a catalogue of releases, and environments as a seed has drawn them."""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random
from typing import Literal, NamedTuple

from ruamel.yaml import YAML

from tests.simulation.remote import BLOBS, Tree, blob_of

By = Literal["commit", "pull-request"]
SERVICES = ("api", "database", "queue", "web")
VERSIONS = ("1.0.0", "1.0.1", "1.1.0", "1.1.1", "2.0.0")
FIRST = VERSIONS[0]
ONE_BY_ONE, ONE_FIRST = {("api", "1.1.0"), ("web", "2.0.0")}, {("database", "1.0.1")}
"""Whose instances are replaced each in its turn, and of which the first is a canary."""
MORE = {
    ("api", "1.0.1"): "upgrade: {urgency: emergency}\n",
    ("api", "1.1.0"): "strategy: {rolling: 1, pause: 2s}\n",
    ("database", "1.0.1"): "strategy: {canary: [1], pause: 3s}\n",
    ("web", "2.0.0"): "strategy: {rolling: 1}\n",
    ("api", "2.0.0"): 'upgrade: {from: ">=1.1.0"}\n',
    ("database", "2.0.0"): "upgrade: {reversible: false}\n",
    ("queue", "1.1.0"): "strategy: blue-green\n",
    ("queue", "1.1.1"): "strategy: blue-green\n",
    ("web", "1.1.0"): 'requires: {database: ">=1.0.1 <3.0.0"}\n',
    ("web", "1.1.1"): 'requires: {database: ">=1.0.0 <3.0.0"}\n',
}
LISTED = {
    ("database", "1.0.0"): ("d0",),
    ("database", "1.0.1"): ("d0",),
    ("database", "1.1.0"): ("d0", "d1", "d2"),
    ("database", "1.1.1"): ("d0", "d1", "d2", "d3"),
    ("database", "2.0.0"): ("d0", "d1", "d2", "d3", "d4"),
    ("queue", "1.0.1"): ("q1",),
    ("queue", "1.1.0"): ("q1", "q2"),
    ("queue", "1.1.1"): ("q1", "q2", "q3"),
    ("queue", "2.0.0"): ("q1", "q2", "q3", "q4"),
}
"""By service and version, where the releases of a seed have data: the migrations that it lists."""
AFTER = frozenset({"d2", "q1", "q4"})
"""Those of phase `after`; the others come before."""
CHECKED = {("database", name) for name in ("d0", "d1", "d2", "d3")} | {("queue", "q2"), ("queue", "q4")}
WITHOUT_DOWN = frozenset({"d3", "q1", "q3"})
BACKED_UP = frozenset(service for service, _ in LISTED)
VOUCHED = {("queue", "1.1.1")}
"""Whose author says that the version before it runs on what its migrations leave."""
BACKUP = (
    'backup: {save: ["save", "{backup}"], verify: ["verify", "{backup}"], restore: ["restore", "{backup}"],'
    " timeout: 3s}\n"
)
RELEASE = """\
service: {service}
version: "{version}"
artifact: {{archive: {{url: "archives/{service}-{version}.tar.gz", sha256: "{digest}"}}}}
run: {{command: ["bin/{service}", "{{port}}"], port: {port}, socket: pass}}
{more}health:
  soak: 400ms
  deadline: 2s
  probes:
    - {{http: "http://127.0.0.1:{{port}}/version", interval: 200ms, timeout: 100ms, failures: 2}}
"""
ENVIRONMENT = """\
environment: {name}
timezone: Europe/Berlin
driver: {{kind: process}}
{more}"""
PIN = re.compile(r'^  (\w+): (?:"(?P<plain>[^"]+)"|\{.*?version: "(?P<version>[^"]+)".*)', re.MULTILINE)
DRIVER = b"driver:"
RENAMED = re.compile(rb"^renamed_from: (.*)$", re.MULTILINE)
RESTORES_WITHIN_S = 3
FLOW = "pins: {"
HOSTS = ("ours", "theirs")
NAMES = {"production": ("production", "live", "prime"), "staging": ("staging", "trial")}
"""By an environment's first name, which stands for it everywhere here: all that it may ever have."""
FIRST_NAMES = {name: first for first, names in NAMES.items() for name in names}
BROKEN = b"pins:\n  api: 1.0\n"


class Rules(NamedTuple):
    """What a seed has drawn for every environment of it; the invariants look at these, not at the engine's gates."""

    windows: bool
    """Minor versions start in even minutes alone."""
    approvals: int
    """How many people approve a minor version."""
    parallel: int
    promote: bool
    """Production takes only what is healthy in staging."""
    revert: bool
    split: bool
    """One file a pin."""
    instances: int
    leased: bool
    """Another daemon wants the environments too: who has the lease acts, and nobody else."""
    data: bool
    """Two services have data: their releases have a backup and migrations."""
    restores: bool
    """A backup may be brought back by itself, soon after it was taken."""
    prune: bool
    """What is pinned no longer is stopped."""
    trusted: bool
    """Commits count by their signatures, and not everybody may move production."""
    everything: bool = False
    """And so does every commit that was merged."""
    proposes: bool = False
    """`policy.revert` is `pull-request`."""

    hosts: bool = False
    """Environments list their hosts: production both of them."""
    lone: bool = False
    """There is staging too, which lists one."""
    progressive_s: int = 0
    failures: int = 1
    """How many hosts have to fail before a pin goes back."""

    follows: bool = False
    """Production's pins follow staging's, by the daemon's hand."""
    soak_s: int = 2
    classes: tuple[str, ...] = ()
    """The steps by which they do; all where none is named."""
    by: By = "commit"
    """In whose hands that is."""

    @property
    def environments(self) -> tuple[str, ...]:
        return ("production", "staging") if self.promote or self.lone else ("production",)

    def hosts_of(self, name: str) -> tuple[str, ...]:
        """The machines that an environment lists; none where it lists none."""
        return (HOSTS if name == "production" else HOSTS[:1]) if self.hosts else ()

    def promotion(self, *, by: str = "", soak_s: int | None = None) -> str:
        """What production says of what comes from staging. `by`: else as it was at first."""
        said = f"promote: {{from: staging, soak: {self.soak_s if soak_s is None else soak_s}s"
        said += f", by: {by or self.by}" if self.follows else ""
        return said + (f", classes: [{', '.join(self.classes)}]}}" if self.classes else "}")

    def text(self, name: str) -> str:
        """The environment's own lines."""
        lines = ['windows: {minor: [{cron: "*/2 * * * *", duration: 1m}]}'] if self.windows else []
        if self.hosts:
            lines.append(f"hosts: [{', '.join(self.hosts_of(name))}]")
            lines.append(f"strategy: {{progressive: {self.progressive_s}s, failures: {self.failures}}}")
        policy = [f"parallel: {self.parallel}"]
        policy += [f"approvals: {{minor: {self.approvals}}}"] if self.approvals else []
        policy += [self.promotion()] if self.promote and name == "production" else []
        policy += [] if self.revert else ["revert: off"]
        policy += ["revert: pull-request"] if self.proposes else []
        policy += ["prune: true"] if self.prune else []
        policy += ["backups: {keep: 2}"] if self.data else []
        policy += [f"restore_data: {{within: {RESTORES_WITHIN_S}s}}"] if self.restores else []
        lines.append(f"policy: {{{', '.join(policy)}}}")
        return ENVIRONMENT.format(name=name, more="\n".join(lines) + "\n")


def rules(random: Random) -> Rules:
    return Rules(
        windows=random.random() < 0.25,
        approvals=random.choices((0, 1), (5, 1))[0],
        parallel=random.choice((1, 2, 4)),
        promote=random.random() < 0.15,
        revert=random.random() < 0.9,
        split=random.random() < 0.7,
        instances=random.choices((1, 2, 3), (8, 1, 2))[0],
        leased=random.random() < 0.3,
        data=random.random() < 0.35,
        restores=random.random() < 0.5,
        prune=random.random() < 0.5,
        trusted=random.random() < 0.25,
    )


def on_hosts(drawn: Rules, random: Random) -> Rules:
    """The same where environments list their hosts: without data, promotions and signatures."""
    return drawn._replace(
        data=False,
        trusted=False,
        promote=False,
        leased=True,
        hosts=True,
        lone=random.random() < 0.3,
        progressive_s=random.choice((0, 0, 4, 10)),
        failures=random.choice((1, 1, 2)),
    )


def following(drawn: Rules, random: Random) -> Rules:
    """The same where production's pins follow staging's."""
    return drawn._replace(
        promote=True,
        follows=True,
        soak_s=random.choice((1, 2, 2, 5)),
        classes=random.choice(((), (), ("minor", "patch"))),
    )


@lru_cache(maxsize=2)
def releases(*, data: bool) -> dict[str, bytes]:
    """Every release of the catalogue, by path. `data`: whether some bring a backup and migrations."""
    return {
        f"releases/{service}/{version}.yaml": RELEASE.format(
            service=service,
            version=version,
            digest="0" * 64,
            port=8000 + 10 * at,
            more=MORE.get((service, version), "") + (_data(service, version) if data else ""),
        ).encode()
        for at, service in enumerate(SERVICES)
        for version in VERSIONS
    }


def _data(service: str, version: str) -> str:
    """What a release says of its service's data."""
    if service not in BACKED_UP:
        return ""
    names = LISTED.get((service, version), ())
    lines = [BACKUP, *(["migrations:\n"] if names else [])]
    for name in names:
        said = [f"id: {name}, phase: {'after' if name in AFTER else 'before'}", f'up: ["up", "{name}"]']
        said += [] if name in WITHOUT_DOWN else [f'down: ["down", "{name}"]']
        said += [f'check: ["check", "{name}"]'] if (service, name) in CHECKED else []
        lines.append(f"  - {{{', '.join(said)}, timeout: 3s}}\n")
    return "".join(lines) + ("upgrade: {reversible: true}\n" if (service, version) in VOUCHED else "")


def pin_of(rules: Rules, version: str) -> str:
    """A pin's value as the people of this seed write it."""
    more = ", allow_downgrade: true"
    return (
        f'{{version: "{version}", instances: {rules.instances}{more}}}'
        if rules.instances > 1
        else f'"{version}"'
    )


def first_files(rules: Rules) -> dict[str, bytes | None]:
    """What the first commit holds."""
    files: dict[str, bytes | None] = dict(releases(data=rules.data))
    for name in rules.environments:
        lines = {service: f"  {service}: {pin_of(rules, FIRST)}\n" for service in SERVICES}
        if rules.split:
            files[f"environments/{name}/environment.yaml"] = rules.text(name).encode()
            for service, line in lines.items():
                files[path_of(rules, name, service)] = f"pins:\n{line}".encode()
        else:
            text = rules.text(name) + "pins:\n" + "".join(lines.values())
            files[path_of(rules, name, FIRST)] = text.encode()
    return files


def path_of(rules: Rules, environment: str, service: str) -> str:
    """The file that pins a service."""
    return f"environments/{environment}/{service}.yaml" if rules.split else f"environments/{environment}.yaml"


def with_pin(rules: Rules, data: bytes | None, service: str, version: str) -> bytes:
    """The file with the pin moved, or put back where it was removed."""
    line = f"  {service}: {pin_of(rules, version)}"
    text = (data or b"pins: {}\n").decode()
    if FLOW in text:
        pins = {
            name: f"  {name}: {pin_of(rules, pinned)}\n" for name, pinned in _pins_in(blob_of(text.encode()))
        }
        text = text[: text.index("pins:")] + "pins:\n" + "".join(pins.values())
    if f"\n  {service}: " in text:
        return re.sub(rf"^  {service}: .*$", line, text, flags=re.MULTILINE).encode()
    return f"{text}{line}\n".encode()


def without_pin(data: bytes, service: str) -> bytes | None:
    """The file without a pin; None where nothing else stood in it."""
    text = re.sub(rf"^  {service}: .*\n", "", data.decode(), flags=re.MULTILINE)
    if text.endswith("pins:\n"):
        text = text.removesuffix("pins:\n") + "pins: {}\n"
    return None if text == "pins: {}\n" else text.encode()


def main_of(tree: Tree, name: str) -> str | None:
    """The path of what an environment of that very name says of itself; None where there is none."""
    paths = f"environments/{name}/environment.yaml", f"environments/{name}.yaml"
    return next((path for path in paths if path in tree), None)


def name_in(tree: Tree, environment: str) -> str:
    """How an environment is called in a commit: of two names at once, the one that it has had."""
    there = {name: path for name in NAMES[environment] if (path := main_of(tree, name))}
    if len(there) > 1:
        there = {name: path for name, path in there.items() if former_in(tree, name) not in there}
    return next(iter(there), environment)


def former_in(tree: Tree, name: str) -> str:
    """The name that it says it had before; empty where it says none."""
    path = main_of(tree, name)
    found = RENAMED.search(BLOBS[tree[path]]) if path else None
    return found[1].decode() if found else ""


def files_of(tree: Tree, environment: str) -> list[str]:
    """The paths of all that is said of an environment."""
    environment = name_in(tree, environment)
    return files_named(tree, environment)


def files_named(tree: Tree, environment: str) -> list[str]:
    """The same, of one that has that very name."""
    whole, folder = f"environments/{environment}.yaml", f"environments/{environment}/"
    return sorted(path for path in tree if path == whole or path.startswith(folder))


def pins_of(tree: Tree, environment: str) -> dict[str, str]:
    """By service, the version that is pinned; read without any code of the engine's."""
    environment = name_in(tree, environment)
    whole = tree.get(f"environments/{environment}.yaml")
    if whole and DRIVER not in BLOBS[whole]:
        return {}  # it was broken, and somebody has mended its pins alone since: it cannot be read for all that
    prefix = f"environments/{environment}/"
    oids = [whole] if whole else [oid for path, oid in tree.items() if path.startswith(prefix)]
    return {service: version for oid in oids for service, version in _pins_in(oid)}


@lru_cache(maxsize=100_000)
def _pins_in(oid: str) -> tuple[tuple[str, str], ...]:
    if BROKEN in BLOBS[oid]:
        return ()  # whatever else was added to it since: nothing can be said of the file
    text = BLOBS[oid].decode()
    if FLOW in text:  # as an empty `pins: {}` is filled by a splice
        pins = YAML(typ="safe").load(text)["pins"].items()
        return tuple((service, pin if isinstance(pin, str) else pin["version"]) for service, pin in pins)
    return tuple((one[1], one["plain"] or one["version"]) for one in PIN.finditer(text))
