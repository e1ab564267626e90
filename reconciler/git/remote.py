"""Where the repository is, and how it is reached. What git could take for a command is refused."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct

from reconciler.model.errors import UgsError

SCP_FORM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!-)\S+")
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
BRANCH = re.compile(r"(?![-/.])[^\x00-\x20\x7f~^:?*\[\\]+")
NETWORK_SCHEMES = ("https", "http", "ssh")
SCHEMES = (*NETWORK_SCHEMES, "file")
USERNAME = "git"
CONNECT_TIMEOUT_S = 10


class Remote(Struct, frozen=True):
    """The tracked repository and branch, and the credentials to reach it. Raises UgsError when it is unsafe.

    `password` is asked anew at each call, so that a rotated one is seen. `environment` is what git and ssh
    need of the caller's own: PATH, HOME, GIT_SSL_CAINFO, SSL_CERT_FILE, SSH_AUTH_SOCK, proxies.
    """

    url: str
    branch: str = "main"
    username: str | None = None
    password: Callable[[], str] | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    environment: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        _check_url(self.url)
        if not BRANCH.fullmatch(self.branch):
            raise UgsError(
                f"repository.branch: {self.branch!r} is not a branch name", "name one such as main"
            )
        for name, path in (("ssh_key", self.ssh_key), ("known_hosts", self.known_hosts)):
            if path is not None and re.search(r"[\x00-\x1f\"\\$]", str(path)):
                raise UgsError(
                    f"repository.{name}: {str(path)!r} holds a character that ssh expands", "rename it"
                )

    @property
    def scheme(self) -> str:
        """What GIT_ALLOW_PROTOCOL calls it: https, http, ssh or file."""
        if self.url.startswith("/"):
            return "file"
        return "ssh" if SCP_FORM.fullmatch(self.url) else urlsplit(self.url).scheme

    @property
    def local_path(self) -> Path | None:
        """The folder, when the remote is a path or a file: URL, so that it can be watched."""
        if self.url.startswith("/"):
            return Path(self.url)
        return Path(unquote(urlsplit(self.url).path)) if self.scheme == "file" else None

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"

    def secret(self) -> str | None:
        """The password for basic authentication, where one is configured and the remote asks over http."""
        return self.password() if self.password and self.scheme in {"http", "https"} else None

    def authorization(self, secret: str) -> tuple[str, str]:
        """The git configuration (key, value) that sends the password to this server, and to no other."""
        url = urlsplit(self.url)
        user = self.username or url.username or USERNAME
        token = base64.b64encode(f"{user}:{secret}".encode()).decode()
        server = url.netloc.rpartition("@")[2]
        return f"http.{url.scheme}://{server}/.extraHeader", f"Authorization: Basic {token}"

    def ssh_command(self) -> str:
        """The value of GIT_SSH_COMMAND, which git gives to a shell: quoted for it, and for ssh within."""
        options = ["BatchMode=yes", f"ConnectTimeout={CONNECT_TIMEOUT_S}", "ServerAliveInterval=10"]
        if self.known_hosts is not None:
            options += [f'UserKnownHostsFile="{_unexpanded(self.known_hosts)}"', "StrictHostKeyChecking=yes"]
        if self.ssh_key is not None:
            options += ["IdentitiesOnly=yes", f'IdentityFile="{_unexpanded(self.ssh_key)}"']
        return shlex.join(["ssh", *(f"-o{option}" for option in options)])


def _unexpanded(path: Path) -> str:
    return str(path).replace("%", "%%")


def _check_url(url: str) -> None:
    if re.search(r"[\x00-\x1f\x7f-\x9f]", url):
        raise _unusable(url, "holds a control character")
    if url.startswith("/") or SCP_FORM.fullmatch(url):
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _unusable(url, f"is not a URL ({error})") from error
    if parts.scheme not in SCHEMES or not url.startswith(f"{parts.scheme}://"):
        raise _unusable(url, "is not of a kind that is used here")
    if parts.password is not None:
        raise _unusable(f"{parts.scheme}://…", "holds a password; it belongs into repository.password")
    if not _reaches(parts, port):
        raise _unusable(url, "does not name a server and a path")


def _reaches(url: SplitResult, port: int | None) -> bool:
    """Whether the URL names a host that cannot be read as an option, and a path."""
    if url.scheme == "file":
        return url.netloc in {"", "localhost"} and url.path.startswith("/")
    user_is_plain = url.username is None or USER.fullmatch(url.username) is not None
    return user_is_plain and port != 0 and HOST.fullmatch(url.hostname or "") is not None


def _unusable(url: str, what: str) -> UgsError:
    return UgsError(
        f"repository.url: {url!r} {what}",
        "use https://, http://, ssh://, git@host:path, file:/// or an absolute path",
    )
