"""A train of three environments: what soaked in one is promoted to the next by a commit, and may fail in any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path

from reconciler.cli.graph import settings_from, site_of, store_of
from reconciler.drivers import DRIVERS
from tests.crash.campaign import OPERATIONS, UPGRADES_MAX, Campaign, end_of
from tests.drivers.services import answered, wait_until
from tests.git.colleague import git
from tests.train import FILE, PLACE

NAMES = ("dev", "staging", "production")
PROMOTE = "policy: {{promote: {{from: {before}, by: commit}}}}\n"
PROMOTIONS = "--format=%(trailers:key=Ugs-Promotion,valueonly)"
GOOD_IN_ALL = 0.5


class Train(Campaign):
    """Ada pins a version in dev, and every commit after that is the daemon's."""

    reaches = ("promote:begun", "promote:done")

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self._number = 0
        self._runs = dict.fromkeys(NAMES, "1.0.0")
        self._failed: dict[str, list[str]] = {name: [] for name in NAMES}
        self._promoted = 0

    def start(self) -> None:
        world = self.world
        world.release("1.0.0", deadline="60s")
        world.pin("1.0.0")
        for more in (dict.fromkeys(NAMES, ""), self._more()):
            for name in NAMES[:-1]:
                world.files[FILE.format(name=name)] = PLACE.format(
                    name=name, more=more[name], version="1.0.0", port=world.port(name)
                )
            world.more = more["production"]
            self.people.append(world.merge("Start"))
            self.run()
        self.check_settled()

    def _more(self) -> dict[str, str]:
        return {"dev": ""} | {name: PROMOTE.format(before=before) for before, name in pairwise(NAMES)}

    def story(self) -> Iterator[None]:
        self._number += 1
        world, version = self.world, f"1.{self._number}.0"
        bad_in = "" if self.random.random() < GOOD_IN_ALL else self.random.choice(NAMES)
        probe = f'{{command: ["test", "{{environment}}", "!=", "{bad_in}"], interval: 50ms, failures: 2}}'
        world.release(version, deadline="60s", probe=probe)
        world.ada.pull_if_any()
        file = FILE.format(name="dev")
        world.files[file] = world.text(file).replace(f'"{self._runs["dev"]}"', f'"{version}"')
        world.pin(self._runs["production"])
        self.people.append(world.merge(f"Bump api to {version} in dev"))
        for name in NAMES:
            if name != "dev":
                self._promoted += 1
            if name == bad_in:
                self._failed[name].append(version)
                break
            self._runs[name] = version
        yield

    def check_always(self) -> None:
        super().check_always()
        promotions = git(self.world.remote, "log", PROMOTIONS, "main").split()
        assert len(promotions) == len(set(promotions)), f"promoted twice: {promotions}"
        subjects = git(
            self.world.remote, "log", "--format=%s", "--grep=^Ugs-Promotion: ", "main"
        ).splitlines()
        assert len(subjects) == len(set(subjects)), f"promoted twice: {subjects}"
        assert len(subjects) <= self._promoted, f"{self._promoted} were due: {subjects}"

    def check_settled(self) -> None:
        super().check_settled()
        settings = settings_from(self.world.configure())
        reverted = git(self.world.remote, "log", OPERATIONS, "main").split()
        with closing(store_of(settings)) as store:
            assert store.verify_audit() is None, "(10) the audit log is broken"
            upgrades = store.upgrades(limit=UPGRADES_MAX)
        for name in NAMES:
            wait_until(partial(answered, self.world.port("api" if name == "production" else name)))
            seen = DRIVERS["process"].observe(site_of(settings), name)["api"].instances
            assert [str(one.target.version) for one in seen] == [self._runs[name]], name
            text = self.world.text(FILE.format(name=name))
            assert f'"{self._runs[name]}"' in text, f"{name}: the pin does not say what runs\n{text}"
            mine = [upgrade for upgrade in upgrades if upgrade.environment == name]
            assert all(upgrade.final for upgrade in mine), "(9) it is not over"
            failed = [upgrade for upgrade in mine if upgrade.failed]
            assert sorted(str(one.to.version) for one in failed if one.to) == sorted(self._failed[name])
            for upgrade in failed:
                assert upgrade.phase == "reverted", f"(4) {end_of(upgrade)}"
                assert upgrade.operation in reverted, f"(4) {upgrade.operation} has no commit"
