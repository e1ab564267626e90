"""What systemd is told of a service: one template with the sandbox, and for each instance what its release makes of it.

Pure: values in, the text of unit files out.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from reconciler.drivers.mark import VARIABLE, Mark
from reconciler.model.release import SystemdRun
from reconciler.model.target import Target

RESTART_S = 2
DYNAMIC_NAME_MAX = 18
DROP_IN = "release.conf"
_SEAL = "# Written by UGS; what is changed here by hand is drift. Content: "
_DESCRIPTION = re.compile(
    r"(?P<service>\S+) (?P<target>\S+) in (?P<environment>\S+), instance (?P<index>\d+) "
    r"\(ugs (?P<site>\S+), operation (?P<operation>\S+), revision (?P<revision>\S+)\)"
)

SANDBOX: Mapping[str, tuple[tuple[str, ...], str]] = {
    "NoNewPrivileges": (("yes",), "no"),
    "ProtectSystem": (("strict",), "no"),
    "ProtectHome": (
        ("tmpfs",),
        "no",
    ),  # not `yes`, under which a state folder in someone's home could not be shown
    "PrivateTmp": (("yes",), "no"),
    "PrivateDevices": (("yes",), "no"),
    "ProtectClock": (("yes",), "no"),
    "ProtectHostname": (("yes",), "no"),
    "ProtectKernelTunables": (("yes",), "no"),
    "ProtectKernelModules": (("yes",), "no"),
    "ProtectKernelLogs": (("yes",), "no"),
    "ProtectControlGroups": (("yes",), "no"),
    "ProtectProc": (("invisible",), "default"),
    "RestrictAddressFamilies": (("AF_UNIX AF_INET AF_INET6",), ""),
    "RestrictNamespaces": (("yes",), "no"),
    "RestrictRealtime": (("yes",), "no"),
    "RestrictSUIDSGID": (("yes",), "no"),
    "RemoveIPC": (("yes",), "no"),
    "LockPersonality": (("yes",), "no"),
    "SystemCallArchitectures": (("native",), ""),
    "SystemCallFilter": (("@system-service", "~@privileged @resources"), ""),
}
"""By directive: its values in the template, and the one that takes it back."""


PRIVILEGED = frozenset({"ProtectKernelLogs"})
"""What someone's own manager cannot do: no unit with it would start."""


SIDES = ("", *string.ascii_lowercase[1:])
"""Where releases of one instance run beside each other: the first has no letter, the next ones b, c and so on."""


class Slot(Struct, frozen=True, order=True):
    """Where one instance runs: its number, and its side."""

    index: int
    side: str = ""

    def __str__(self) -> str:
        return f"{self.index}{self.side}"


class Plan(Struct, frozen=True):
    """One instance, as its drop-in describes it. `program` is what `command[0]` stands for.

    Paths are absolute; those of folders are plain (`is_plain`), as systemd gives many signs a meaning of its own.
    """

    mark: Mark
    revision: str
    run: SystemdRun
    state: Path
    directory: Path
    program: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: Path | None
    """The file that holds what must not stand in a unit."""
    stop_grace_s: float
    start_timeout_s: float
    sockets: tuple[str, ...] = ()
    """The socket units whose sockets it is handed."""
    is_system: bool = True
    """False: for someone's own manager, which has no users to choose from."""


def is_plain(path: Path) -> bool:
    """Whether a path means the same in every directive."""
    return re.fullmatch(r"/[A-Za-z0-9._/@+-]*", str(path)) is not None


def base_of(environment: str, service: str) -> str:
    """The template's name without `@.service`; a dot stands in no name, so no two services share one."""
    return f"ugs-{environment}.{service}"


def template_of(environment: str, service: str) -> str:
    return f"{base_of(environment, service)}@.service"


def unit_of(environment: str, service: str, slot: Slot) -> str:
    return f"{base_of(environment, service)}@{slot}.service"


def pattern_of(environment: str, service: str = "*") -> str:
    """Finds all instances: for systemd and for journalctl."""
    return f"{base_of(environment, service)}@*.service"


def split(unit: str, environment: str) -> tuple[str, Slot] | None:
    """The service and the slot that a unit's name says; None where it is no instance's name."""
    name = rf"ugs-{re.escape(environment)}\.([a-z0-9-]+)@([0-9]{{1,5}})([b-z]?)\.service"
    matched = re.fullmatch(name, unit)
    return (matched[1], Slot(int(matched[2]), matched[3])) if matched else None


def description(mark: Mark, revision: str) -> str:
    """The unit's description: the one text that systemd gives for a thousand units in one answer."""
    return (
        f"{mark.service} {mark.target} in {mark.environment}, instance {mark.index} "
        f"(ugs {mark.site}, operation {mark.operation}, revision {revision or '-'})"
    )


def parse_description(text: str) -> Mark | None:
    """None when `text` is not what `description` writes: the unit is not ours."""
    matched = _DESCRIPTION.fullmatch(text)
    if matched is None:
        return None
    try:
        target = Target.parse(matched["target"])
    except ValueError:
        return None
    return Mark(
        matched["site"],
        matched["environment"],
        matched["service"],
        int(matched["index"]),
        target,
        matched["operation"],
    )


def plain_description(environment: str, service: str, site: str) -> str:
    """The template's: that of an instance which nothing was made of yet."""
    return f"{service} in {environment} (ugs {site})"


def template(environment: str, service: str, site: str, *, is_system: bool = True) -> str:
    """The unit that all instances of a service share: how they are kept, and what they must not do."""
    base = base_of(environment, service)
    lines = [
        "[Unit]",
        f"Description={plain_description(environment, service, site)}",
        # Who starts again what crashed is systemd, for ever: UGS judges, and takes a bad release back.
        "StartLimitIntervalSec=0",
        *(("After=network-online.target", "Wants=network-online.target") if is_system else ()),
        "",
        "[Service]",
        "Restart=always",
        f"RestartSec={RESTART_S}s",
        "UMask=0077",
        f"StateDirectory={base}",
        "StateDirectoryMode=0700",
        # Without privileges only a user namespace of its own lets a manager make the rest of the sandbox.
        *((f"User={made_up_user(base)}", "DynamicUser=yes") if is_system else ("PrivateUsers=yes",)),
        "CapabilityBoundingSet=",
        "SystemCallErrorNumber=EPERM",
        *(
            f"{name}={value}"
            for name, (values, _) in SANDBOX.items()
            if is_system or name not in PRIVILEGED
            for value in values
        ),
        "",
        "[Install]",
        f"WantedBy={wanted_by(is_system)}",
    ]
    return sealed(lines)


def wanted_by(is_system: bool) -> str:
    return "multi-user.target" if is_system else "default.target"


def drop_in(plan: Plan) -> str:
    """What one release makes of the template: the version flips when this one file is replaced."""
    mark, run = plan.mark, plan.run
    labels = {VARIABLE: str(mark), "UGS_REVISION": plan.revision}
    fields = {
        "UGS_ENVIRONMENT": mark.environment,
        "UGS_SERVICE": mark.service,
        "UGS_VERSION": str(mark.target.version),
        "UGS_OPERATION": mark.operation,
    }
    lines = [
        "[Unit]",
        f"Description={description(mark, plan.revision)}",
        "",
        "[Service]",
        # ":" keeps systemd from filling in variables: every word is what the manifest says.
        f"ExecStart=:{' '.join(_word(word) for word in (str(plan.program), *plan.arguments))}",
        f"WorkingDirectory={plan.directory}",
        *((f"Sockets={' '.join(plan.sockets)}",) if plan.sockets else ()),
        # Of the daemon's state, with its secrets and its mirror, the service sees its own release alone.
        f"TemporaryFileSystem={plan.state}:ro",
        f"BindReadOnlyPaths={plan.directory}",
        *(
            f"Environment={_word(f'{name}={value}')}"
            for name, value in {**plan.environment, **labels}.items()
        ),
        *((f"EnvironmentFile={plan.secrets}",) if plan.secrets else ()),
        *(f"LogExtraFields={_word(f'{name}={value}')}" for name, value in fields.items()),
        f"SyslogIdentifier={mark.service}",
        f"Type={'notify' if run.notify else 'exec'}",
        f"TimeoutStartSec={plan.start_timeout_s:g}s",
        f"TimeoutStopSec={plan.stop_grace_s:g}s",
        *_wishes(run, plan.is_system),
    ]
    return sealed(lines)


def _wishes(run: SystemdRun, is_system: bool) -> Iterable[str]:
    """What the release asks for beside its command."""
    if run.notify and run.watchdog_s is not None:
        yield f"WatchdogSec={run.watchdog_s:g}s"
    if run.user is not None and is_system:
        yield from ("DynamicUser=no", f"User={run.user}")
    limits = (("MemoryMax", run.memory_max), ("CPUQuota", run.cpu_quota), ("TasksMax", run.tasks_max))
    yield from (f"{name}={value}" for name, value in limits if value is not None)
    for name in sorted(run.relax):
        yield f"{name}={SANDBOX[name][1]}"
    yield from (f"BindPaths={path}" for path in run.writable)
    if run.capabilities:
        wanted = " ".join(run.capabilities)
        yield from (f"CapabilityBoundingSet={wanted}", f"AmbientCapabilities={wanted}")


def secrets_file(secrets: Mapping[str, str]) -> str:
    """Secrets as systemd reads them from an EnvironmentFile."""
    return "".join(f'{name}="{_in_double_quotes(value)}"\n' for name, value in sorted(secrets.items()))


def sealed(lines: Iterable[str]) -> str:
    """The text of a file with, in its first line, the digest of all that follows."""
    body = "\n".join(lines) + "\n"
    return f"{_SEAL}{hashlib.sha256(body.encode()).hexdigest()[:16]}\n{body}"


def is_sealed(text: str) -> bool:
    """Whether the text is still as `sealed` made it."""
    first, _, body = text.partition("\n")
    return first.startswith(_SEAL) and text == sealed(body.removesuffix("\n").split("\n"))


def made_up_user(base: str) -> str:
    """The name, at most 31 characters, of the user that systemd makes up: one for all instances, as they share data."""
    short = re.sub("[^a-z0-9-]", "", base.rpartition(".")[2])[:DYNAMIC_NAME_MAX]
    return f"ugs-{short}-{hashlib.sha256(base.encode()).hexdigest()[:8]}"


def _word(text: str) -> str:
    """One word of a list, quoted."""
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "%": "%%"}
    signs = (named.get(sign, sign if sign.isprintable() else _bytes(sign)) for sign in text)
    return f'"{"".join(signs)}"'


def _bytes(sign: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in sign.encode())


def _in_double_quotes(text: str) -> str:
    return re.sub(r'(["\\`$])', r"\\\1", text)
