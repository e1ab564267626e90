"""What is set otherwise between two workloads of a service, by name: a value is never shown."""

from __future__ import annotations

from reconciler.model.codec import encode
from reconciler.model.target import Workload


def differences(before: Workload, after: Workload) -> tuple[str, ...]:
    """One phrase for everything that the pin or the release sets otherwise: `config.workers changed`."""
    old, new = _settings(before), _settings(after)
    return tuple(
        f"{key} {'added' if key not in old else 'removed' if key not in new else 'changed'}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def _settings(work: Workload) -> dict[str, bytes]:
    """Every setting that has a name, as JSON: 1, true and "1" are three values."""
    run = work.release.run
    values: dict[str, object] = {
        "instances": work.instances,
        "strategy": work.strategy,
        **{f"config.{key}": value for key, value in work.config.items()},
        **{f"requires.{name}": wanted for name, wanted in work.release.requires.items()},
    }
    if work.release.backup is not None:
        values["backup"] = work.release.backup
    if work.port is not None:
        values["port"] = work.port
    if run is not None:
        values |= {"command": run.command, "socket": run.socket, "stop_grace": run.stop_grace_s}
        values |= {f"environment.{name}": value for name, value in run.environment.items()}
    return {key: encode(value) for key, value in values.items()}
