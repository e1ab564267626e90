"""What an environment asks of this driver, as far as the operator lets it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec import Struct

from reconciler.drivers.base import Site
from reconciler.drivers.kubernetes.access import Access, from_kubeconfig, in_cluster
from reconciler.model.errors import HostError


class Options(Struct, frozen=True):
    """`driver:` of the environment's file: repository content. No context: the kubeconfig's current one."""

    namespace: str
    context: str | None = None


class Engine(Struct, frozen=True):
    """`engines.kubernetes` of ugs.yaml: the operator's word.

    `kubeconfig`: None for the pod that the daemon runs in. `namespaces`: patterns of those that may be used.
    `contexts`: which of the kubeconfig an environment may name. `allow`: what the pods of manifests may have that
    reaches beyond them. `overrule`: patterns of managers whose changes are a person's hand, and give way.
    """

    namespaces: tuple[str, ...] = ()
    kubeconfig: str | None = None
    contexts: tuple[str, ...] = ()
    allow: frozenset[str] = frozenset()
    overrule: tuple[str, ...] = ("kubectl*",)


# Resolved while one thread imports this: msgspec crashes when two do so for the first time at once.
_RESOLVED = (msgspec.json.Decoder(Options), msgspec.json.Decoder(Engine))


class Choice(Struct, frozen=True):
    """Where one environment's services run."""

    options: Options
    engine: Engine

    def access(self) -> Access:
        """How to reach the server. Raises HostError."""
        if self.engine.kubeconfig is None:
            return in_cluster()
        return from_kubeconfig(Path(self.engine.kubeconfig), self.options.context)


def choice(site: Site) -> Choice:
    """Raises HostError for a namespace or a context that ugs.yaml does not let an environment use."""
    if "namespace" not in site.options:  # the schema asks for it: its file is gone
        raise HostError(
            "nothing says in which namespace the environment's services run",
            "bring its file back, or stop them by hand",
        )
    options = msgspec.convert(site.options, Options)
    engine = msgspec.convert(site.engine, Engine)
    if not any(fnmatchcase(options.namespace, pattern) for pattern in engine.namespaces):
        allowed = ", ".join(engine.namespaces) or "none"
        raise HostError(
            f"the namespace {options.namespace} may not be used: ugs.yaml allows {allowed}",
            "add it to engines.kubernetes.namespaces, or name another in the environment's `driver`",
        )
    if options.context is not None and options.context not in engine.contexts:
        allowed = ", ".join(engine.contexts) or "none by name"
        raise HostError(
            f"the context {options.context} may not be used: ugs.yaml allows {allowed}",
            "add it to engines.kubernetes.contexts, or name another in the environment's `driver`",
        )
    return Choice(options, engine)
