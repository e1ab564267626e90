"""A team's program, as ugs.yaml names it: how it is run, and how what it says is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from reconciler import command, errand
from reconciler.drivers.base import Site
from reconciler.drivers.command.contract import CONTRACT, Answer, Call
from reconciler.drivers.started import inherited
from reconciler.errand import Order, readable
from reconciler.model.codec import resolve_types
from reconciler.model.document import seconds
from reconciler.model.errors import ArtifactError, HostError, TransientError, UgsError
from reconciler.model.release import Scalar

A = TypeVar("A", bound=Answer)
ANSWER_BYTES_MAX = 8 << 20
DETAIL_CHARS_MAX = 1_000
FATES: dict[str, type[UgsError]] = {
    "host": HostError,
    "transient": TransientError,
    "artifact": ArtifactError,
}
REMEDY = "look at what it says when it is run by hand; `ugs driver check` tries it"


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What an environment's file says under `driver`. It comes from the repository, and only names a program."""

    program: str
    host: str = "127.0.0.1"
    options: dict[str, Scalar] = {}


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """What ugs.yaml says of one program. A variable is text, or a secret that is read at each use."""

    argv: tuple[str, ...]
    environment: dict[str, Any] = {}
    timeout: str = "10m"
    observe_timeout: str = "30s"
    environments: tuple[str, ...] | None = None


resolve_types(Options, Entry)


class Program(Struct, frozen=True):
    """A program that an environment may use. `environment`: all that it sees; `secrets` are the values among that."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    secrets: tuple[str, ...]
    timeout_s: float
    observe_timeout_s: float

    def ask(self, call: Call, kind: type[A], *, directory: Path) -> A:
        """Its answer to a question. Raises HostError where there is none, and what it says that it is."""
        ended = self.run(msgspec.json.encode(call), directory=directory)
        said = readable(ended.stderr, self.secrets, cut=ended.truncated)
        if ended.timed_out:
            raise self._trouble(call, f"did not end within {self.observe_timeout_s:g} s")
        if len(ended.stdout) >= ANSWER_BYTES_MAX:
            raise self._trouble(call, f"wrote more than {ANSWER_BYTES_MAX} bytes")
        return self._read(call, ended.stdout, kind, code=ended.code, said=said)

    def run(self, request: bytes, *, directory: Path, timeout_s: float | None = None) -> command.Result:
        """One run of it, however that ends; as long as it may take to observe, unless another limit is given."""
        return command.run(
            self.argv,
            timeout_s=self.observe_timeout_s if timeout_s is None else timeout_s,
            environment=self.environment,
            directory=directory,
            stdin=request,
            output_bytes_max=ANSWER_BYTES_MAX,
        )

    def carry_out(self, call: Call, *, folder: Path, secrets: tuple[str, ...]) -> UgsError | None:
        """Have it do something, to its end, whatever becomes of the daemon meanwhile: one thing at a time in a folder.

        Why it was not done, as far as it knows; None where it says that it was. What is seen afterwards decides.
        """
        name = _action(call)
        order = Order(
            argv=self.argv,
            environment=self.environment,
            directory=str(folder),
            timeout_s=self.timeout_s,
            secrets=(*self.secrets, *secrets),
            request=msgspec.json.encode(call).decode(),
            keeps_lock=False,  # what it starts for good runs on
        )
        ended = errand.carry_out(folder, name, order, anew=True, leave=lambda: False)
        errand.forget(folder, name)
        if ended.refusal:
            return HostError(ended.refusal, ended.remedy)
        if ended.timed_out:
            return self._trouble(call, f"did not end within {self.timeout_s:g} s")
        if ended.code is None:
            return TransientError(f"the program {self.name} ({name}) was cut short", "it is tried again")
        try:
            self._read(call, ended.answer.encode(), Answer, code=ended.code, said=ended.output)
        except UgsError as error:
            return error
        return None

    def clear(self, text: str) -> str:
        """What it says as text that is safe to show."""
        return readable(text.encode(errors="replace"), self.secrets, cut=False)

    def _read(self, call: Call, data: bytes, kind: type[A], *, code: int, said: str) -> A:
        """The answer in what it wrote to stdout; `said` is what it wrote to stderr."""
        try:
            answer = msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            if code == 0:
                raise self._trouble(call, f"gave no answer: {self.clear(str(error))}") from None
            raise self._trouble(call, f"exited with {code}{_last_line(said)}") from None
        if answer.contract != CONTRACT:
            raise self._trouble(
                call, f"speaks version {answer.contract} of the contract, and this is version {CONTRACT}"
            )
        if (failure := answer.error) is not None:
            message = f"the program {self.name} ({_action(call)}): {self.clear(failure.message)}"
            raise FATES[failure.fate](message, self.clear(failure.remedy))
        if code != 0:
            raise self._trouble(call, f"exited with {code}{_last_line(said)}")
        return answer

    def _trouble(self, call: Call, what: str) -> HostError:
        return HostError(f"the program {self.name} ({_action(call)}) {what}", REMEDY)


def options_of(site: Site) -> Options:
    """Raises HostError where the environment is gone, so that nobody says which program it was."""
    try:
        return msgspec.convert(site.options, Options)
    except msgspec.ValidationError as error:
        raise HostError(
            f"which program runs this environment is not known: {error}", "put the environment's file back"
        ) from error


def program_of(site: Site, environment: str) -> Program:
    """The program that the environment names. Raises HostError when ugs.yaml does not let it."""
    return granted(site, options_of(site).program, environment)


def granted(site: Site, name: str, environment: str | None) -> Program:
    """A program of ugs.yaml; `environment`: who wants to use it, None for a person at the command line."""
    programs: dict[str, Any] = site.engine.get("programs", {})
    entry = msgspec.convert(programs[name], Entry) if name in programs else None
    if entry is None or (
        environment is not None and environment not in (entry.environments or (environment,))
    ):
        raise HostError(
            f"the program {name} is not there for {environment}"
            if environment
            else f"there is no program {name}",
            f"add it under engines.command.programs in ugs.yaml; there is {', '.join(programs) or 'none'}",
        )
    own = {key: value() if callable(value) else value for key, value in entry.environment.items()}
    return Program(
        name=name,
        argv=entry.argv,
        environment=inherited() | own,
        secrets=tuple(own[key] for key, value in entry.environment.items() if callable(value)),
        timeout_s=seconds(entry.timeout),
        observe_timeout_s=seconds(entry.observe_timeout),
    )


def _action(call: Call) -> str:
    return str(type(call).__struct_config__.tag)


def _last_line(said: str) -> str:
    lines = said.splitlines()
    return f": {lines[-1][-DETAIL_CHARS_MAX:]}" if lines else ""
