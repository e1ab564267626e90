"""Health probes: one question to one instance over http, tcp or a command, and what its answer means.

A failure is *silent* when nothing answered yet (refused, timed out, 503): the service may still be starting.
A check that could not be made at all (no name resolution, no route, no descriptors left here) is `unknown`.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path

import aiohttp
import msgspec
import yarl
from msgspec import Struct

from reconciler import command
from reconciler.model.errors import HostError
from reconciler.model.observation import Sample, Verdict
from reconciler.model.redaction import redacted
from reconciler.model.release import Probe, Scalar
from reconciler.model.verdict import Outcome

BODY_BYTES_MAX = 64 << 10
CONNECTIONS_MAX = 512
DETAIL_LENGTH_MAX = 200
OUTPUT_BYTES_MAX = 4 << 10
PORT_MAX = 65535
InThread = Callable[..., Awaitable[command.Result]]

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")
# Trouble on our side of the connection: it says nothing about the service.
_OURS = frozenset(
    {
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        errno.EHOSTUNREACH,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EPERM,
    }
)


class Finding(Struct, frozen=True):
    """What one try came to, before it is bounded and dated."""

    verdict: Verdict
    detail: str = ""
    silent: bool = False


def session() -> aiohttp.ClientSession:
    """A client for probes: no cookies, no proxies from the environment, a fresh connection for every probe.

    Must be made inside the event loop; the caller closes it.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, force_close=True, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "ugs"},
        # A compressed body is taken as it is: nothing that a service sends may grow here.
        auto_decompress=False,
        trust_env=False,
    )


async def probe(
    client: aiohttp.ClientSession,
    spec: Probe,
    *,
    instance: int,
    values: Mapping[str, str],
    directory: Path,
    environment: Mapping[str, str],
    secrets: Collection[str],
    prefix: tuple[str, ...] = (),
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    in_thread: InThread = asyncio.to_thread,
) -> Outcome:
    """Ask one instance once, for at most `timeout_s`. Never raises for what the service or the network does.

    `values` fill the probe's placeholders; a command runs in `directory` with `environment`, behind `prefix`;
    the service's `secrets` are masked in what it says. The sample is dated when the answer is in; its latency is
    in seconds. `in_thread` answers what a blocking call does: a command is waited for in it.
    """
    started = monotonic()
    finding = await _find(client, spec, values, directory, environment, prefix, in_thread)
    sample = Sample(
        probe=spec.name,
        verdict=finding.verdict,
        at=now(),
        detail=one_line(redacted(finding.detail, secrets)),
        latency_s=monotonic() - started,
    )
    return Outcome(instance, sample, finding.silent)


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with every `{name}` that `values` knows replaced; other braces stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def one_line(text: str) -> str:
    """The text on one line, printable, and bounded."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * DETAIL_LENGTH_MAX]).split())
    return line if len(line) <= DETAIL_LENGTH_MAX else line[: DETAIL_LENGTH_MAX - 1] + "…"


async def _find(
    client: aiohttp.ClientSession,
    spec: Probe,
    values: Mapping[str, str],
    directory: Path,
    environment: Mapping[str, str],
    prefix: tuple[str, ...],
    in_thread: InThread,
) -> Finding:
    if spec.command is not None:
        argv = (*prefix, *(fill(argument, values) for argument in spec.command))
        return await _run(argv, spec.timeout_s, directory, environment, in_thread)
    if spec.tcp is not None:
        address = fill(spec.tcp, values)
        match = _ADDRESS.fullmatch(address)
        if match is None or int(match["port"]) > PORT_MAX:
            return Finding("unknown", f"cannot probe {address!r}; write it as host:port")
        host, port = match["six"] or match["host"], int(match["port"])
        return await _within(spec.timeout_s, host, lambda: _tcp(host, port))
    text = fill(spec.http or "", values)
    try:
        url = yarl.URL(text)
    except ValueError as error:
        return Finding("unknown", f"cannot probe {text!r}: {error}")
    if url.scheme not in ("http", "https") or not url.host:
        return Finding("unknown", f"cannot probe {text!r}; write it as http://host:port/path")
    return await _within(spec.timeout_s, url.host, lambda: _http(client, url, spec, values))


async def _within(timeout_s: float, host: str, ask: Callable[[], Awaitable[Finding]]) -> Finding:
    """Resolve the host's name, then ask: a name that does not resolve says nothing about the service."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    try:
        async with asyncio.timeout_at(deadline):
            if not _is_address(host):
                await loop.getaddrinfo(host, None)
    except TimeoutError:
        return Finding("unknown", f"{host} did not resolve within {timeout_s:g} s")
    except (OSError, UnicodeError) as error:
        return Finding("unknown", f"{host} does not resolve: {error}")
    try:
        async with asyncio.timeout_at(deadline):
            return await ask()
    except TimeoutError:
        return Finding("failed", f"no answer within {timeout_s:g} s", silent=True)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _tcp(host: str, port: int) -> Finding:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return _unconnected(error)
    writer.transport.abort()
    return Finding("healthy", "accepts connections")


async def _http(
    client: aiohttp.ClientSession, url: yarl.URL, spec: Probe, values: Mapping[str, str]
) -> Finding:
    try:
        async with client.get(url, allow_redirects=False, timeout=aiohttp.ClientTimeout()) as response:
            return await _judge_response(response, spec, values)
    except aiohttp.ClientSSLError as error:
        return Finding("failed", f"TLS does not work: {error}")
    except aiohttp.ServerDisconnectedError:
        return Finding("failed", "closed the connection without an answer", silent=True)
    except OSError as error:
        return _unconnected(error)
    except aiohttp.ClientError as error:
        return Finding("failed", f"does not answer in HTTP: {error}")


def _unconnected(error: OSError) -> Finding:
    """Nothing answered: the service's doing, or our own network's."""
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return Finding("unknown", f"does not resolve: {error}")
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return Finding("unknown", reason) if error.errno in _OURS else Finding("failed", reason, silent=True)


async def _judge_response(
    response: aiohttp.ClientResponse, spec: Probe, values: Mapping[str, str]
) -> Finding:
    expected = spec.expect_status if spec.expect_status is not None else 200
    if response.status != expected:
        detail = f"answers status {response.status}, expected {expected}"
        return Finding("failed", detail, silent=response.status == 503)
    if not spec.expect_json:
        return Finding("healthy", f"answers status {response.status}")
    try:
        body = await _body(response)
    except (aiohttp.ClientError, OSError) as error:
        return Finding("failed", f"broke off its answer: {error}")
    if body is None:
        return Finding("failed", f"answers more than {BODY_BYTES_MAX} bytes")
    return _judge_json(body, spec.expect_json, values)


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """The whole body, or None when it is, or claims to be, larger than is read."""
    if (response.content_length or 0) > BODY_BYTES_MAX:
        return None
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)


def _judge_json(body: bytes, expected: Mapping[str, Scalar], values: Mapping[str, str]) -> Finding:
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return Finding("failed", f"answers no JSON: {body!r}")
    if not isinstance(answer, dict):
        return Finding("failed", f"answers no JSON object: {body!r}")
    for key, value in expected.items():
        wanted = fill(value, values) if isinstance(value, str) else value
        if key not in answer:
            return Finding("failed", f"answers no {key!r}, expected {wanted!r}")
        actual = answer[key]
        # In Python True equals 1; in JSON it does not.
        if actual != wanted or isinstance(actual, bool) != isinstance(wanted, bool):
            return Finding("failed", f"answers {key} {actual!r}, expected {wanted!r}")
    return Finding("healthy", "answers " + ", ".join(f"{key} {answer[key]!r}" for key in expected))


async def _run(
    argv: tuple[str, ...],
    timeout_s: float,
    directory: Path,
    environment: Mapping[str, str],
    in_thread: InThread,
) -> Finding:
    # A path is the release's own; a bare name is looked up by the system.
    program = str(directory / argv[0]) if "/" in argv[0] else argv[0]
    try:
        result = await in_thread(
            command.run,
            (program, *argv[1:]),
            timeout_s=timeout_s,
            environment=environment,
            directory=directory,
            output_bytes_max=OUTPUT_BYTES_MAX,
        )
    except HostError as error:
        return Finding("unknown", str(error))
    if result.timed_out:
        return Finding("failed", f"no result within {timeout_s:g} s", silent=True)
    if result.code == 0:
        return Finding("healthy", "exit code 0")
    said = (result.stderr.strip() or result.stdout.strip()).decode(errors="replace").splitlines()
    return Finding("failed", f"exit code {result.code}" + (f": {said[-1]}" if said else ""))
