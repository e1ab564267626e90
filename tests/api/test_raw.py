"""What no client sends by mistake: raw bytes to a real daemon. Each is refused, and the next request is answered."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

import pytest

from tests.api.network import call, token_for
from tests.daemon_process import DaemonProcess

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def token(served: DaemonProcess) -> str:
    return token_for(served, "ada", "admin")


def sent(port: int, data: bytes, *, end: bool = True) -> bytes:
    """All that comes back until the server closes. `end`: nothing more will be sent, and it is told so."""
    answer = b""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client,
        suppress(ConnectionError),
    ):
        client.sendall(data)
        if end:
            client.shutdown(socket.SHUT_WR)
        while part := client.recv(1 << 16):
            answer += part
    return answer


def head(token: str, line: str, *headers: str) -> bytes:
    return "\r\n".join((line, "Host: ugs", f"Authorization: Bearer {token}", *headers, "", "")).encode(
        "latin-1"
    )


@pytest.mark.fault("AP-05")
def test_a_request_that_says_twice_how_long_it_is_is_refused_and_nothing_after_it_is_read(
    served: DaemonProcess, port: int, token: str
) -> None:
    hidden = head(token, "POST /sync HTTP/1.1", "Content-Length: 2") + b"{}"
    both = head(token, "POST /upgrade/plan HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked")
    answer = sent(port, both + b"0\r\n\r\n" + hidden)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"onnection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    two = head(token, "POST /upgrade/plan HTTP/1.1", "Content-Length: 2", "Content-Length: 3")
    answer = sent(port, two + b"{}" + hidden)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert call(port, "GET", "/upgrade/status", token=token).status == 200


@pytest.mark.fault("AP-05")
def test_requests_in_one_breath_are_answered_in_their_order(
    served: DaemonProcess, port: int, token: str
) -> None:
    one = head(token, "GET /livez HTTP/1.1")
    last = head(token, "GET /nothing HTTP/1.1", "Connection: close")
    answer = sent(port, one + one + last, end=False)
    assert re.findall(rb"HTTP/1\.1 (\d{3})", answer) == [b"200", b"200", b"404"]


@pytest.mark.fault("AP-10")
@pytest.mark.parametrize(
    "line",
    [
        "GET /../../etc/passwd HTTP/1.1",
        "GET /static/%2e%2e/%2e%2e/%2e%2e/pyproject.toml HTTP/1.1",
        "GET /static/..%2f..%2fapp.py HTTP/1.1",
        "GET /upgrade/explain?environment=%00&service=api HTTP/1.1",
        "GET /upgrade/explain?environment=../production&service=api HTTP/1.1",
        "GET /upgrade/status?environment='%20OR%201=1-- HTTP/1.1",
        "GET /upgrade/history?limit=999999999999999999999 HTTP/1.1",
        "GET /upgrade/history?cursor=%27;DROP%20TABLE%20tokens HTTP/1.1",
        "GET /audit?event=%27%20OR%20%271%27=%271&order_by=hash HTTP/1.1",
        "GET /\x00 HTTP/1.1",
        "GE\x00T / HTTP/1.1",
        "TRACE / HTTP/1.1",
        f"GET /{'x' * 70_000} HTTP/1.1",
    ],
)
def test_paths_and_queries_that_lead_elsewhere_are_refused_and_never_a_bug(
    served: DaemonProcess, port: int, token: str, line: str
) -> None:
    answer = sent(port, head(token, line, "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 4") or not answer, answer[:200]
    assert b"root:" not in answer
    assert "Traceback" not in served.log()


@pytest.mark.fault("AP-10")
def test_a_head_of_64_kib_is_refused(served: DaemonProcess, port: int, token: str) -> None:
    answer = sent(port, head(token, "GET /livez HTTP/1.1", f"X-Filler: {'x' * (64 << 10)}"))
    assert answer.startswith(b"HTTP/1.1 4") or not answer
    assert call(port, "GET", "/livez").status == 200
