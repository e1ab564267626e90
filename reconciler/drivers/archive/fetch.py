"""Getting an archive from where the manifest says, if the daemon's configuration allows that place."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import ssl
import urllib.request
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from reconciler.clock import SystemClock
from reconciler.drivers.base import Site
from reconciler.model.errors import ArtifactError, HostError, TransientError

ARCHIVE_BYTES_MAX = 1024**3
READ_TIMEOUT_S = 30.0
FETCH_TIMEOUT_S = 900.0
CHUNK_BYTES = 1024 * 1024
REMEDY_LATER = "it is tried again; see that it is published and can be reached"


def fetch(site: Site, url: str, revision: str, destination: Path, *, place: str) -> str:
    """Write what is at `url` to `destination`; return its SHA-256 in lower-case hex.

    Raises HostError for a place that is not allowed, TransientError for what may be there later,
    ArtifactError for what is too large or no URL at all; OSError is the host's own. `place`: where
    the manifest names it, for messages.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ArtifactError(f"{place}: {url!r} is no URL: {error}", "mend it") from error
    if parts.scheme == "":
        return _save(io.BytesIO(site.blob(revision, url)), destination, None, place)
    check_allowed(url, site.artifacts_allowed, place)
    if parts.scheme == "file" and not host:
        return _from_file(Path(unquote(parts.path)), destination, place)
    if parts.scheme in ("http", "https") and host:
        return _from_http(url, site.artifacts_allowed, destination, place)
    raise ArtifactError(
        f"{place}: {url!r} is of no kind that can be fetched",
        "use https, http, file: or a path inside the repository",
    )


def check_allowed(url: str, allowed: tuple[str, ...], place: str) -> None:
    """Raise HostError unless the URL stands under one of the prefixes, without ways to climb out of it."""
    parts = urlsplit(url)
    climbs = ".." in unquote(parts.path).replace("\\", "/").split("/")
    if climbs or "@" in parts.netloc or not any(_stands_under(url, prefix) for prefix in allowed):
        raise HostError(
            f"{place}: {url!r} is not allowed here, only paths in the repository and "
            + (", ".join(allowed) or "nothing else"),
            "add its prefix to artifacts.allow in ugs.yaml",
        )


def _stands_under(url: str, prefix: str) -> bool:
    """A prefix that ends in a host ends with that host: https://a.example does not open https://a.example.evil/."""
    ends_in_host = "/" not in prefix.partition("://")[2]
    whole_host = prefix.endswith(("/", ":")) or url[len(prefix) :][:1] in ("", "/", ":")
    return bool(prefix) and url.startswith(prefix) and (whole_host or not ends_in_host)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and only to where the archive might have come from directly."""

    max_redirections = 5

    def __init__(self, allowed: tuple[str, ...], place: str) -> None:
        self.allowed = allowed
        self.place = place

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        check_allowed(newurl, self.allowed, self.place)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _from_http(url: str, allowed: tuple[str, ...], destination: Path, place: str) -> str:
    opener = urllib.request.OpenerDirector()  # bare: no proxies, no other kinds of URL
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(allowed, place),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"User-Agent": "ugs"})  # noqa: S310  the scheme is checked
    try:
        with opener.open(request, timeout=READ_TIMEOUT_S) as response:
            length = response.headers.get("Content-Length")
            return _save(response, destination, int(length) if length else None, place)
    except HTTPError as error:
        error.close()
        what = "is not there" if error.code in (404, 410) else "cannot be fetched"
        raise TransientError(f"{place}: the artifact {what} ({error.code}): {url}", REMEDY_LATER) from error
    except (
        URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ssl.SSLError,
        ValueError,
    ) as error:
        raise TransientError(f"{place}: cannot fetch {url}: {_why(error)}", REMEDY_LATER) from error


def _why(error: Exception) -> str:
    return str(error.reason if isinstance(error, URLError) else error) or type(error).__name__


def _from_file(path: Path, destination: Path, place: str) -> str:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise TransientError(f"{place}: the artifact is not there: {path}", REMEDY_LATER) from error
    with file:
        return _save(file, destination, os.fstat(file.fileno()).st_size, place)


def _save(source: IO[bytes], destination: Path, length: int | None, place: str) -> str:
    """Copy and digest. A transfer that was cut short must not look like a wrong archive."""
    clock = SystemClock()
    deadline_s = clock.monotonic() + FETCH_TIMEOUT_S
    digest, received = hashlib.sha256(), 0
    with destination.open("wb") as writer:
        while chunk := source.read(CHUNK_BYTES):
            received += len(chunk)
            if received > ARCHIVE_BYTES_MAX:
                raise ArtifactError(
                    f"{place}: the archive is larger than {ARCHIVE_BYTES_MAX} bytes", "make it smaller"
                )
            if clock.monotonic() > deadline_s:
                raise TransientError(
                    f"{place}: the archive took longer than {FETCH_TIMEOUT_S:g} s", REMEDY_LATER
                )
            digest.update(chunk)
            writer.write(chunk)
    if length is not None and received != length:
        raise TransientError(
            f"{place}: only {received} of {length} bytes of the archive arrived", REMEDY_LATER
        )
    return digest.hexdigest()
