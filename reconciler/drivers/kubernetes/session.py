"""What one change works with: where it is made, as what it is known there, and what there is of ours."""

from __future__ import annotations

from msgspec import Struct

from reconciler.drivers.base import Site
from reconciler.drivers.kubernetes import marks
from reconciler.drivers.kubernetes.namespace import Namespace, open_namespace
from reconciler.drivers.kubernetes.options import Choice, choice
from reconciler.drivers.kubernetes.rollout import Held
from reconciler.drivers.mark import site_id


class Work(Struct, frozen=True):
    """`id`: the site's, as it stands on our labels."""

    site: Site
    choice: Choice
    place: Namespace
    id: str

    def is_ours(self, held: Held, environment: str) -> bool:
        return marks.is_ours(held.labels, self.id, environment)

    def ours(self, environment: str, service: str) -> list[Held]:
        """Every workload of one service, those that are being ended too."""
        return [
            held
            for held in self.place.workloads()
            if held.service == service and self.is_ours(held, environment)
        ]


def begin(site: Site) -> Work:
    chosen = choice(site)
    return Work(site, chosen, open_namespace(chosen), site_id(site.state))
