"""Which client the forge of ugs.yaml gets: each asks its own server, with the token of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cli.forge import closing_forge
from reconciler.config import load
from tests.forge.conftest import KINDS, remote
from tests.forge.server import ForgeServer

__all__ = ["remote"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_client(kind: str, remote: Path, tmp_path: Path) -> None:
    (token := tmp_path / "token").write_text(ForgeServer.token)
    with ForgeServer(kind, remote) as server:
        (tmp_path / "ugs.yaml").write_text(
            f"repository: {{url: fleet.git}}\nforge: {server.settings(token)}\n"
        )
        with closing_forge(load(tmp_path / "ugs.yaml", environ={})) as forge:
            assert forge
            assert forge.name.casefold() == kind
            forge.check()
        assert server.violations == []


def test_without_one_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "ugs.yaml").write_text("repository: {url: fleet.git}\n")
    with closing_forge(load(tmp_path / "ugs.yaml", environ={})) as forge:
        assert forge is None
