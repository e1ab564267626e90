"""What somebody who can write to the repository, or to the mirror, must not reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.git import Mirror, Remote
from reconciler.model.errors import HostError, UgsError
from tests.git.colleague import AT, ENVIRONMENT, Colleague, git
from tests.git.conftest import OpenMirror

HOOKS = ("reference-transaction", "pre-push", "post-commit", "pre-auto-gc", "post-rewrite", "fsmonitor")


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that every trap creates."""
    return tmp_path / "canary"


@pytest.fixture
def trap(tmp_path: Path, canary: Path) -> Path:
    """A folder full of hooks that touch the canary."""
    folder = tmp_path / "traps"
    folder.mkdir()
    for name in HOOKS:
        (folder / name).write_text(f"#!/bin/sh\ntouch {canary}\n")
        (folder / name).chmod(0o755)
    return folder


def use_everything(mirror: Mirror) -> None:
    tip = mirror.fetch()
    mirror.accept(tip)
    mirror.entries(tip, [])
    mirror.blob_at(tip, "README.md")
    mirror.log(None, tip)
    sha = mirror.commit(tip, {"README.md": b"changed\n"}, "Change", at=AT)
    mirror.push(sha)
    mirror.add_notes({tip: {"a": '{"operation": "a"}'}}, at=AT)
    assert mirror.contains(sha)
    assert mirror.poll() == sha


@pytest.mark.fault("HR-12")
def test_hooks_and_programs_named_in_the_mirror_do_not_run(
    mirror: Mirror, tmp_path: Path, trap: Path, canary: Path
) -> None:
    folder = tmp_path / "state" / "mirror.git"
    (folder / "hooks").symlink_to(trap)
    with (folder / "config").open("a") as config:
        config.write(
            f"[core]\n\thooksPath = {trap}\n\tfsmonitor = {trap}/fsmonitor\n\taskPass = {trap}/fsmonitor\n"
        )
        config.write(f"\talternateRefsCommand = {trap}/fsmonitor\n\tsshCommand = {trap}/fsmonitor\n")
        config.write(f"[credential]\n\thelper = {trap}/fsmonitor\n[log]\n\tshowSignature = true\n")
    use_everything(mirror)
    assert not canary.exists()
    # The trap is a good one: plain git falls into it.
    git(folder, "update-ref", "refs/heads/x", mirror.fetch())
    assert canary.exists()


@pytest.mark.fault("HR-12", "HR-14")
def test_a_transport_smuggled_into_the_mirror_is_refused(
    mirror: Mirror, origin: Path, tmp_path: Path, canary: Path
) -> None:
    with (tmp_path / "state" / "mirror.git" / "config").open("a") as config:
        config.write(
            f'[protocol "ext"]\n\tallow = always\n[url "ext::touch {canary} "]\n\tinsteadOf = {origin}\n'
        )
    with pytest.raises(HostError, match=r"transport 'ext' not allowed; check repository\.url"):
        mirror.fetch()
    assert not canary.exists()


@pytest.mark.fault("HR-13", "HR-14")
def test_no_program_is_run_by_a_branch_or_a_url(canary: Path) -> None:
    with pytest.raises(UgsError, match="is not a branch name"):
        Remote("/srv/fleet.git", f"--upload-pack=touch {canary};")
    with pytest.raises(UgsError, match="is not of a kind that is used here"):
        Remote(f"ext::sh -c touch% {canary}")
    assert not canary.exists()


@pytest.mark.fault("HR-03")
def test_a_tree_that_holds_a_git_folder_is_not_fetched(mirror: Mirror, ada: Colleague) -> None:
    before = mirror.fetch()
    blob = ada.git("hash-object", "-w", "--stdin", stdin=b"[core]\n")
    inner = ada.git("mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    tree = ada.git("mktree", stdin=f"040000 tree {inner}\t.git\n".encode())
    ada.git(
        "push",
        "--quiet",
        "origin",
        ada.git("commit-tree", "-p", before, "-m", "x", tree) + ":refs/heads/main",
    )
    with pytest.raises(HostError, match=r"hasDotgit.*; remove the bad object from the branch"):
        mirror.fetch()
    assert mirror.log(None, before)


@pytest.mark.fault("HR-04")
def test_attributes_change_nothing_of_what_is_read(mirror: Mirror, ada: Colleague, canary: Path) -> None:
    ada.git("config", "filter.evil.clean", "cat")
    attributes = (
        "* filter=evil ident export-subst eol=crlf working-tree-encoding=iso-8859-1 diff=evil merge=evil\n"
    )
    ada.merges({"README.md": "$Id$ $Format:%H$\n"})
    tip = ada.merges({".gitattributes": attributes})
    ada.git("config", "filter.evil.smudge", f"touch {canary}")
    assert mirror.fetch() == tip
    assert mirror.blob_at(tip, "README.md") == b"$Id$ $Format:%H$\n"
    made = mirror.commit(tip, {"README.md": b"$Id$\n"}, "Revert", at=AT)
    assert mirror.blob_at(made, "README.md") == b"$Id$\n"
    assert not canary.exists()


def test_the_environment_of_the_daemon_leads_git_nowhere_else(
    open_mirror: OpenMirror, ada: Colleague, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_CONFIG_GLOBAL"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    use_everything(open_mirror())


@pytest.mark.fault("HR-11")
def test_a_replaced_object_is_read_as_it_was_committed(mirror: Mirror, tmp_path: Path) -> None:
    tip = mirror.fetch()
    folder = tmp_path / "state" / "mirror.git"
    ours, other = (
        git(folder, "rev-parse", f"{tip}:{path}") for path in ("README.md", "environments/production.yaml")
    )
    git(folder, "replace", ours, other)
    assert mirror.blob_at(tip, "README.md") == b"fleet\n"


def test_an_ssh_remote_gets_exactly_its_own_options(
    open_mirror: OpenMirror,
    origin: Path,
    tmp_path: Path,
    stand_in: Callable[[str, str], dict[str, str]],
) -> None:
    """A stand-in for ssh notes its arguments and runs the command here, as the far side's shell would."""
    noted = tmp_path / "noted"
    environment = stand_in("ssh", f'printf "%s\\n" "$@" >> {noted}; for last; do :; done; exec sh -c "$last"')
    key = tmp_path / "a key; touch x"
    remote = Remote(f"git@git.example:{origin}", ssh_key=key, environment=environment)
    use_everything(open_mirror(remote=remote))
    lines = noted.read_text().splitlines()
    assert f'-oIdentityFile="{key}"' in lines
    assert "-oBatchMode=yes" in lines
    assert "git@git.example" in lines
    assert f"git-upload-pack '{origin}'" in lines


def test_ssh_that_does_not_know_the_server_or_us_is_a_persons_to_mend(
    open_mirror: OpenMirror, stand_in: Callable[[str, str], dict[str, str]]
) -> None:
    remote = "git@git.example:fleet.git"
    environment = stand_in("ssh", "echo 'Host key verification failed.' >&2; exit 255")
    with pytest.raises(HostError, match=r"add the server's key to repository\.known_hosts"):
        open_mirror(remote=Remote(remote, environment=environment)).fetch()
    environment = stand_in("ssh", "echo 'git@git.example: Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(HostError, match="check the credentials in repository"):
        open_mirror(remote=Remote(remote, environment=environment)).fetch()


def test_a_local_remote_has_its_own_hooks(open_mirror: OpenMirror, origin: Path, canary: Path) -> None:
    """What protects the mirror does not switch off the policy of the repository that is pushed to."""
    hook = origin / "hooks" / "post-receive"
    hook.write_text(f"#!/bin/sh\ntouch {canary}\n")
    hook.chmod(0o755)
    use_everything(open_mirror(remote=Remote(str(origin), environment=ENVIRONMENT)))
    assert canary.exists()
