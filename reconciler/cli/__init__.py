"""The command line: a verb a file, each loaded only when it is used, so that `ugs --help` stays cheap."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from reconciler import __version__
from reconciler.model.errors import UgsError

COMMANDS = {
    "init": ("reconciler.cli.init", "Scaffold a repository that passes `ugs check`."),
    "demo": ("reconciler.cli.demo", "Deploy, break, restore and revert a small service before your eyes."),
    "run": ("reconciler.cli.run", "Run the daemon."),
    "sync": ("reconciler.cli.run", "Have the daemon fetch now."),
    "check": ("reconciler.cli.check", "Validate a repository."),
    "plan": ("reconciler.cli.plan", "Show what would change now, and what holds it."),
    "status": ("reconciler.cli.status", "Show what is pinned, what runs, and how it is."),
    "explain": ("reconciler.cli.status", "Say why a service is not yet where its pin says."),
    "history": ("reconciler.cli.history", "Show past upgrades and how they ended."),
    "logs": ("reconciler.cli.logs", "Show what a service wrote."),
    "windows": ("reconciler.cli.windows", "Show when each class of change may start, and test it."),
    "notes": (
        "reconciler.cli.notes",
        "Show release notes: of an environment since then, or between versions.",
    ),
    "bump": ("reconciler.cli.bump", "Edit one pin in a working tree, and commit it."),
    "flags": ("reconciler.cli.flags", "Show flags, switch them by a commit, and ask what somebody gets."),
    "hold": ("reconciler.cli.permits", "Let nothing start in an environment, or of a service."),
    "approve": ("reconciler.cli.permits", "Approve the change that is planned for a service."),
    "override": (
        "reconciler.cli.permits",
        "Pass by a closed gate, for a while; a second person confirms it.",
    ),
    "adopt": ("reconciler.cli.adopt", "Let what is not ours, and has a service's name, be taken over."),
    "start": ("reconciler.cli.start", "Start now what the gates allow, and what only a person starts."),
    "verify": ("reconciler.cli.start", "Run the probes of what runs, once."),
    "probes": ("reconciler.cli.probes", "Show latency and failures of a service's probes, by the hour."),
    "rollback": ("reconciler.cli.people", "Take a service back to what ran before, and revert its pin."),
    "retry": ("reconciler.cli.people", "Commit a quarantined pin again, for one more attempt."),
    "quarantine": ("reconciler.cli.people", "Show or release what failed and is not tried again."),
    "recover": ("reconciler.cli.recover", "Show what safe mode is about, and accept it."),
    "backup": ("reconciler.cli.backup", "Copies of the daemon's database, and of services' data."),
    "migrations": ("reconciler.cli.migrations", "Show how services' data was changed, or settle it."),
    "notify": ("reconciler.cli.notify", "Try what people are told through."),
    "driver": ("reconciler.cli.driver", "Show what each driver can do, or check a program of your own."),
    "token": ("reconciler.cli.token", "Make, show and revoke tokens for the API over the network."),
    "audit": ("reconciler.cli.audit", "Show or verify the audit log."),
}


class Verbs(click.Group):
    """Commands by name, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ugs")
def cli() -> None:
    """UGS: a merged pin is the deployment; what proves unhealthy is restored, and its commit reverted.

    Shell completion: eval "$(_UGS_COMPLETE=bash_source ugs)" (or zsh_source, fish_source).
    """


def main() -> NoReturn:
    """The entry point: expected errors are one message and exit code 1, everything else is a bug's traceback."""
    try:
        cli(prog_name="ugs")
    except UgsError as error:
        click.echo(f"ugs: {error}", err=True)
        sys.exit(1)
    sys.exit(0)
