"""What people do beside bumping: hold, change their minds, remove, keep UGS from reverting; and a release that nobody
can bring back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from reconciler.cli.graph import settings_from, store_of
from reconciler.model.upgrade import Upgrade
from reconciler.store import Store
from reconciler.store.opening import open_state
from tests.crash.campaign import UPGRADES_MAX, Campaign, end_of
from tests.drivers.services import wait_until

PRUNE = "policy: {prune: true}\n"
NO_REVERT = "policy: {prune: true, revert: off}\n"


class People(Campaign):
    """A round of each kind after the other; how each upgrade ends is known beforehand."""

    reaches = (
        *("phase:waiting", "phase:superseded", "phase:cancelled", "phase:restored", "phase:stuck"),
        *("remove:begun", "remove:done"),
    )

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.world.more = PRUNE
        self._number = 0
        self._runs = {"api": "1.0.0", "web": "1.0.0"}
        self._ends: list[tuple[str, str]] = []
        """Every upgrade in the order of its beginning: its service, and the phase that it is in."""
        self._ill = folder / "ill"

    def start(self) -> None:
        for service in self._runs:
            self._release("1.0.0", service)
            self._ends.append((service, "succeeded"))
        self._merge("Start")
        self.run()
        self.check_settled()

    def story(self) -> Iterator[None]:
        stories = self._doubt, self._no_revert, self._removal, self._no_way_back
        yield from stories[self._number % len(stories)]()

    def _version(self) -> str:
        self._number += 1
        return f"1.{self._number}.0"

    def _release(self, version: str, service: str = "api", *, bad: bool = False) -> None:
        probe = f'{{command: ["test", "!", "-e", "{self._ill}"], interval: 50ms, failures: 2}}'
        self.world.release(
            version, "unhealthy" if bad else "ok", service=service, deadline="60s", probe=probe
        )
        self.world.pin(version, service)

    def _merge(self, message: str) -> None:
        self.people.append(self.world.merge(message))

    def _doubt(self) -> Iterator[None]:
        """Held: it waits, until a newer one does; that is let go again. Then neither is wanted."""
        with self._opened() as store:
            store.hold("production", None, reason="look first", owner="ada", until=None)
        version = self._version()
        self._release(version)
        self._merge(f"Bump api to {version}")
        self._ends.append(("api", "waiting"))
        yield
        newer = version.removesuffix("0") + "1"
        self._release(newer)
        self._merge(f"Rather {newer}")
        self._ends[-1:] = [("api", "superseded"), ("api", "waiting")]
        yield
        self.world.pin(self._runs["api"])
        self._merge("Never mind")
        self._ends[-1] = "api", "cancelled"
        yield
        with self._opened() as store:
            store.release_hold(store.permits("production").holds[0].id, by="ada")

    def _no_revert(self) -> Iterator[None]:
        """Where nothing is to be reverted, what failed is restored, and its pin is Ada's to mend."""
        version = self._version()
        self.world.more = NO_REVERT
        self._release(version, bad=True)
        self._merge(f"Bump api to {version}")
        self._ends.append(("api", "restored"))
        yield
        assert f'api: "{version}"' in self.world.pinned()
        self.world.more = PRUNE
        self.world.pin(self._runs["api"])
        self._merge("Pin what runs")
        yield

    def _removal(self) -> Iterator[None]:
        """web is removed, and comes back."""
        version = self._version()
        self.world.pin(None, "web")
        self._merge("Remove web")
        self._ends.append(("web", "succeeded"))
        self._runs["web"] = ""
        yield
        self._release(version, "web")
        self._merge("Bring web back")
        self._ends.append(("web", "succeeded"))
        self._runs["web"] = version
        yield

    def _no_way_back(self) -> Iterator[None]:
        """api is ill in every version: restored once, it does not prove itself. Its pin goes back all the same."""
        version, before = self._version(), self._runs["api"]
        self._release(version)
        self._ill.touch()
        self._merge(f"Bump api to {version}")
        self._ends.append(("api", "stuck"))
        yield
        assert f'api: "{before}"' in self.world.pinned()
        self._ill.unlink()
        newer = version.removesuffix("0") + "1"
        self._release(newer)
        self._merge(f"Bump api to {newer}")
        self._ends.append(("api", "succeeded"))
        self._runs["api"] = newer
        yield

    def _answers(self, service: str, version: str) -> bool:
        return self.world.answers(service) == version

    def _opened(self) -> closing[Store]:
        return closing(open_state(self.world.state, now=self.world.clock.now))

    def check_settled(self) -> None:
        super().check_settled()
        with closing(store_of(settings_from(self.world.configure()))) as store:
            assert store.verify_audit() is None, "(10) the audit log is broken"
            upgrades: list[Upgrade] = store.upgrades(environment="production", limit=UPGRADES_MAX)
        for service, version in self._runs.items():
            wait_until(partial(self._answers, service, version))
        for name in self._runs:
            ended = [(one.service, str(one.phase)) for one in reversed(upgrades) if one.service == name]
            wanted = [one for one in self._ends if one[0] == name]
            assert ended == wanted, "\n".join(end_of(one) for one in reversed(upgrades))
