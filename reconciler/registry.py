"""Asking a registry of images which tags an image has, and which digest one of them is: its HTTP API, version 2.

Every call blocks and is made in a thread. Each may raise TransientError (it may pass), HostError (a person must mend
the credentials), and UgsError (the registry has no such image, or answers nonsense).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec
from msgspec import Struct

from reconciler.model.codec import resolve_types
from reconciler.model.errors import HostError, TransientError, UgsError

if TYPE_CHECKING:
    from urllib3 import PoolManager

T = TypeVar("T")
REQUEST_TIMEOUT_S = 15.0
BODY_BYTES_MAX = 4 << 20
PAGES_MAX = 50
PAGE = 1000
TAGS_MAX = 20_000
HUB = "docker.io"
HUB_SERVER = "registry-1.docker.io"
LATER = "it is tried again; see that the registry can be reached"
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_CHALLENGE = re.compile(r'([a-z_]+)="([^"]*)"')
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Login(Struct, frozen=True):
    """Who asks. `password` reads it anew each time. Raises HostError where there is none."""

    username: str
    password: Callable[[], str]


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """By name, in whatever case."""
    body: bytes


class _Tags(Struct, frozen=True):
    tags: tuple[str, ...] | None = None


class _Granted(Struct, frozen=True):
    token: str = ""
    access_token: str = ""


resolve_types(_Tags, _Granted)


def name_in(image: str) -> tuple[str, str]:
    """The host of an image's registry, with its port if it has one, and what the image is called there."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not (slash and ("." in first or ":" in first or first == "localhost")):
        first, rest = HUB, name if slash else f"library/{name}"
    return first, re.sub(r":[A-Za-z0-9._-]+$", "", rest)


class Registry:
    """One registry. Used by one thread at a time; a token that it grants is used for one image only."""

    def __init__(self, host: str, login: Login | None = None) -> None:
        self.host = host
        self._login = login
        server = HUB_SERVER if host == HUB else host
        self._base = (
            f"{'http' if server.rpartition(':')[0] in LOCAL or server in LOCAL else 'https'}://{server}"
        )
        self._pool: PoolManager | None = None
        self._granted: dict[str, str] = {}
        """By image, what to send as `Authorization`."""

    def close(self) -> None:
        if self._pool is not None:
            self._pool.clear()

    def tags(self, name: str) -> tuple[str, ...]:
        """The tags of an image, at most TAGS_MAX."""
        found: list[str] = []
        url = f"{self._base}/v2/{quote(name)}/tags/list?n={PAGE}"
        for _ in range(PAGES_MAX):
            answer = self._ask("GET", url, name)
            found += _decoded(answer, self.host, _Tags).tags or ()
            onward = _NEXT.search(answer.headers.get("Link", ""))
            if onward is None or len(found) >= TAGS_MAX:
                break
            url = urljoin(url, onward[1])
            if not url.startswith(f"{self._base}/"):
                raise UgsError(f"{self.host}: the next page of tags is elsewhere", "look at the registry")
        return tuple(found[:TAGS_MAX])

    def digest(self, name: str, tag: str) -> str:
        """The digest of the manifest, or of the index of many platforms, that a tag names now."""
        answer = self._ask("HEAD", f"{self._base}/v2/{quote(name)}/manifests/{quote(tag)}", name)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not _DIGEST.fullmatch(digest):
            raise UgsError(f"{self.host} does not say which digest {name}:{tag} is", "look at the registry")
        return digest

    def _ask(self, method: str, url: str, name: str) -> _Answer:
        answer = self._sent(method, url, self._granted.get(name, ""))
        if answer.status == 401:
            self._granted[name] = self._permission(answer.headers.get("WWW-Authenticate", ""), name)
            answer = self._sent(method, url, self._granted[name])
        if answer.status == 200:
            return answer
        if answer.status in {401, 403}:
            raise HostError(
                f"{self.host} does not let us see {name}",
                f"set registries.{self.host} in ugs.yaml, or mend it",
            )
        if answer.status == 404:
            raise UgsError(f"{self.host} has no {name}", "look at the image's name, and at the tag")
        if answer.status == 429 or answer.status >= 500:
            raise TransientError(f"{self.host} answers status {answer.status}", LATER)
        raise UgsError(f"{self.host} answers status {answer.status} about {name}", "look at the registry")

    def _permission(self, challenge: str, name: str) -> str:
        """What to send so that it lets us read the image, as its challenge asks for it."""
        scheme, _, rest = challenge.partition(" ")
        asked = dict(_CHALLENGE.findall(rest))
        if scheme.casefold() == "basic":
            if self._login is None:
                raise HostError(
                    f"{self.host} wants to know who asks", f"set registries.{self.host} in ugs.yaml"
                )
            return self._basic(self._login)
        realm = urlsplit(asked.get("realm", ""))
        secure = realm.scheme == "https" or f"{realm.scheme}://{realm.netloc}" == self._base
        if scheme.casefold() != "bearer" or not secure or not realm.netloc or "@" in realm.netloc:
            raise UgsError(f"{self.host} asks in no known way who we are", "look at the registry")
        query = {"service": asked["service"]} if "service" in asked else {}
        query |= {"scope": f"repository:{name}:pull"}
        who = self._basic(self._login) if self._login else ""
        answer = self._sent("GET", f"{realm.geturl()}{'&' if realm.query else '?'}{urlencode(query)}", who)
        if answer.status in {401, 403}:
            raise HostError(
                f"{self.host} does not know {self._login.username if self._login else 'us'}",
                f"correct `registries.{self.host}` in ugs.yaml",
            )
        if answer.status != 200:
            raise TransientError(f"{realm.netloc} grants no token: status {answer.status}", LATER)
        granted = _decoded(answer, self.host, _Granted)
        return f"Bearer {granted.token or granted.access_token}"

    @staticmethod
    def _basic(login: Login) -> str:
        from urllib3.util import make_headers

        return make_headers(basic_auth=f"{login.username}:{login.password()}")["authorization"]

    def _sent(self, method: str, url: str, authorization: str) -> _Answer:
        from urllib3 import PoolManager, Timeout
        from urllib3.exceptions import HTTPError

        if self._pool is None:
            self._pool = PoolManager(maxsize=2)
        headers: Mapping[str, str] = {"Accept": MANIFESTS if method == "HEAD" else "application/json"}
        try:
            answer = self._pool.request(
                method,
                url,
                headers={**headers, **({"Authorization": authorization} if authorization else {})},
                timeout=Timeout(total=REQUEST_TIMEOUT_S),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            body = answer.read(BODY_BYTES_MAX + 1)
            answer.release_conn()
        except (HTTPError, OSError) as error:
            raise TransientError(f"{self.host} cannot be asked: {type(error).__name__}", LATER) from error
        if len(body) > BODY_BYTES_MAX:
            raise UgsError(f"{self.host} answers more than {BODY_BYTES_MAX} bytes", "look at the registry")
        return _Answer(answer.status, answer.headers, body)


def _decoded(answer: _Answer, host: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (ValueError, RecursionError) as error:
        raise UgsError(f"{host} answers no JSON of its API", "look at the registry") from error
