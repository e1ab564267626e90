"""Where a repository may be, and how it is reached: nothing that git, ssh or a shell could run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from reconciler.git import Remote
from reconciler.model.errors import UgsError


@pytest.mark.parametrize(
    ("url", "scheme", "local_path"),
    [
        ("https://git.example/ops/fleet.git", "https", None),
        ("http://git@127.0.0.1:8080/fleet.git", "http", None),
        ("ssh://git@git.example:2222/ops/fleet.git", "ssh", None),
        ("ssh://[::1]/fleet.git", "ssh", None),
        ("git@git.example:ops/fleet.git", "ssh", None),
        ("/srv/git/my fleet.git", "file", Path("/srv/git/my fleet.git")),
        ("file:///srv/git/my%20fleet.git", "file", Path("/srv/git/my fleet.git")),
    ],
)
def test_what_a_url_stands_for(url: str, scheme: str, local_path: Path | None) -> None:
    remote = Remote(url)
    assert (remote.scheme, remote.local_path) == (scheme, local_path)


@pytest.mark.fault("HR-14")
@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch /tmp/canary'",
        "fd::17",
        "git://git.example/fleet.git",
        "ftp://git.example/fleet.git",
        "--upload-pack=touch",
        "relative/path",
        "",
        "https:git.example",
        "https:///fleet.git",
        "ssh://-oProxyCommand=touch/fleet.git",
        "ssh://git@-oProxyCommand=touch/fleet.git",
        "ssh://-git@git.example/fleet.git",
        "git@-oProxyCommand=touch:fleet.git",
        "-git@git.example:fleet.git",
        "git@git.example:--upload-pack=touch",
        "file://elsewhere/srv/fleet.git",
        "https://git.example:port/fleet.git",
        "https://git.example/fleet.git\nHost: other",
        "https://[::1/fleet.git",
        "/srv/fleet\n.git",
    ],
)
def test_other_urls_are_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(UgsError, match=r"^repository\.url: .*; use https://") as refused:
        Remote(url)
    assert "\n" not in str(refused.value)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UgsError, match=r"belongs into repository\.password") as refused:
        Remote("https://bot:hunter2@git.example/fleet.git")
    assert "hunter2" not in str(refused.value)


@pytest.mark.fault("HR-13")
@pytest.mark.parametrize(
    "branch", ["--upload-pack=x", "-main", "", "/main", ".main", "a b", "a:b", "a*", "a\nb", "a^"]
)
def test_what_is_no_branch_name_is_refused(branch: str) -> None:
    with pytest.raises(UgsError, match=r"^repository\.branch: .*; name one such as main"):
        Remote("/srv/fleet.git", branch)


def test_a_password_goes_to_its_own_server_only() -> None:
    remote = Remote("https://git.example:8443/fleet.git", username="bot", password=lambda: "hunter2")
    key, value = remote.authorization("hunter2")
    assert key == "http.https://git.example:8443/.extraHeader"
    assert value == "Authorization: Basic Ym90Omh1bnRlcjI="


def test_a_password_is_asked_for_over_http_only() -> None:
    assert Remote("http://git.example/fleet.git", password=lambda: "hunter2").secret() == "hunter2"
    assert Remote("/srv/fleet.git", password=lambda: "hunter2").secret() is None
    assert Remote("http://git.example/fleet.git").secret() is None


def test_ssh_gets_its_key_and_hosts_quoted_for_the_shell_and_for_itself() -> None:
    remote = Remote(
        "git@git.example:fleet", ssh_key=Path("/k'; touch x/50%"), known_hosts=Path("/etc/known hosts")
    )
    words = shlex.split(remote.ssh_command())
    assert words[:2] == ["ssh", "-oBatchMode=yes"]
    assert """-oIdentityFile="/k'; touch x/50%%\"""" in words
    assert '-oUserKnownHostsFile="/etc/known hosts"' in words
    assert {"-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=yes"} <= set(words)


@pytest.mark.parametrize("path", ['/a"b', "/a\\b", "/${HOME}/key", "/a\nb"])
def test_a_key_path_that_ssh_would_expand_is_refused(path: str) -> None:
    with pytest.raises(UgsError, match=r"^repository\.ssh_key: "):
        Remote("git@git.example:fleet", ssh_key=Path(path))
    with pytest.raises(UgsError, match=r"^repository\.known_hosts: "):
        Remote("git@git.example:fleet", known_hosts=Path(path))
