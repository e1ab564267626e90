"""What /proc says of a machine, read from one that is made up: its real one has what the drivers' tests start."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from reconciler.drivers.machine import procfs
from reconciler.drivers.machine.procfs import Listener, listeners

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "{:>4}: {} {} {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0000000000000000 100 0 0 10 0\n"
ANYWHERE, LOOPBACK = "00000000:{}", "0100007F:{}"
PORT, IN_HEX = 8080, "1F90"
CONNECTIONS = 50_000


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    (tmp_path / "net").mkdir()
    return tmp_path / "net"


def row(number: int, local: str, remote: str, state: str) -> str:
    return ROW.format(number, local, remote, state, 1_000 + number)


def test_who_listens_on_a_port_is_found_among_those_who_do_not(net: Path) -> None:
    nobody = ANYWHERE.format("0000")
    rows = [
        row(0, LOOPBACK.format(IN_HEX), nobody, "0A"),
        row(1, LOOPBACK.format("1F91"), nobody, "0A"),
        row(2, LOOPBACK.format(IN_HEX), LOOPBACK.format("C350"), "01"),  # a connection to it
        row(3, LOOPBACK.format("C350"), LOOPBACK.format(IN_HEX), "01"),  # the same from its other end
        row(4, ANYWHERE.format(IN_HEX), nobody, "0A"),
    ]
    (net / "tcp").write_text(HEAD + "".join(rows))
    assert listeners(PORT) == [Listener("0100007F", "1000"), Listener("00000000", "1004")]
    (net / "tcp6").write_text(HEAD + row(7, f"{'0' * 32}:{IN_HEX}", f"{'0' * 32}:0000", "0A"))
    assert listeners(PORT)[2:] == [Listener("0" * 32, "1007")]


def test_very_many_connections_are_not_held_in_memory(net: Path) -> None:
    gone = LOOPBACK.format(IN_HEX)
    with (net / "tcp").open("w") as table:
        table.write(HEAD)
        table.writelines(row(number, LOOPBACK.format("C350"), gone, "06") for number in range(CONNECTIONS))
        table.write(row(CONNECTIONS, gone, ANYWHERE.format("0000"), "0A"))
    tracemalloc.start()
    try:
        assert [one.inode for one in listeners(PORT)] == [str(1_000 + CONNECTIONS)]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < (net / "tcp").stat().st_size / 20
