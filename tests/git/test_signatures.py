"""Whose commit it is: real keys, real ssh-keygen and gpg, and everything by which somebody could get past them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.git import Identity, Mirror, Remote, Signers
from reconciler.git.signatures import prepare_gpg
from reconciler.model.errors import HostError
from reconciler.model.trust import Signature
from tests.git.colleague import AT, ENVIRONMENT, Colleague, git
from tests.git.keys import GpgKey, Keys

OPEN_YEARS_AGO = "2019-03-01T09:00:00+00:00"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.allow("ada", "ugs")
    return keys


@pytest.fixture
def bob() -> Iterator[GpgKey]:
    key = GpgKey("bob")
    yield key
    key.close()


@pytest.fixture
def signers(keys: Keys) -> Signers:
    return Signers(keys.allowed, revoked=keys.revoked)


@pytest.fixture
def found(origin: Path, tmp_path: Path) -> Iterator[Callable[..., Signature]]:
    """Fetches, and verifies the tip."""
    opened: list[Mirror] = []

    def of_tip(signers: Signers) -> Signature:
        if not opened:
            remote, ugs = Remote(str(origin), environment=ENVIRONMENT), Identity("UGS", "ugs@example.org")
            opened.append(Mirror(tmp_path / "state" / "mirror.git", remote, ugs))
        opened[0].signers = signers
        return opened[0].signatures([opened[0].fetch()])[0]

    yield of_tip
    for mirror in opened:
        mirror.close()


Found = Callable[[Signers], Signature]


def test_a_commit_by_an_allowed_key_counts_whoever_its_author_is(
    ada: Colleague, keys: Keys, signers: Signers, found: Found
) -> None:
    sha = ada.merges({}, **keys.signing("ada", GIT_AUTHOR_NAME="Mallory"))
    one = found(signers)
    assert (one.commit, one.signer, one.why) == (sha, "ada@example.org", "")
    assert one.key.startswith("SHA256:")


@pytest.mark.fault("HR-08")
def test_a_commit_that_is_not_signed_does_not_count(ada: Colleague, signers: Signers, found: Found) -> None:
    ada.merges({})
    assert found(signers).why == "it is not signed"


def test_a_key_that_nobody_allowed_does_not_count(
    ada: Colleague, keys: Keys, signers: Signers, found: Found
) -> None:
    ada.merges({}, **keys.signing("mallory", GIT_COMMITTER_EMAIL="ada@example.org"))
    one = found(signers)
    assert one.why == f"its key {one.key} is none of the allowed signers'"
    keys.allow("mallory")
    assert found(signers).signer == "mallory@example.org"  # the file is read anew


def test_a_key_that_is_allowed_for_something_else_does_not_count(
    ada: Colleague, keys: Keys, signers: Signers, found: Found
) -> None:
    keys.allow("files", options='namespaces="file"')
    ada.merges({}, **keys.signing("files"))
    assert found(signers).why


def test_a_signature_on_another_commit_does_not_count(
    ada: Colleague, keys: Keys, signers: Signers, found: Found
) -> None:
    ada.commit({}, environment=keys.signing("ada"))
    raw = ada.git("cat-file", "commit", "HEAD") + "\n"
    forged = ada.git(
        "hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.replace("Change", "Wreck").encode()
    )
    ada.git("reset", "--quiet", "--hard", forged)
    ada.push()
    assert found(signers).why.startswith("its signature does not hold")


@pytest.mark.fault("HR-10")
@pytest.mark.parametrize("form", ["revoke", "krl"])
def test_a_revoked_key_does_not_count_whatever_date_its_commit_claims(
    ada: Colleague, keys: Keys, signers: Signers, found: Found, form: str
) -> None:
    ada.merges({}, **keys.signing("ada", GIT_COMMITTER_DATE=OPEN_YEARS_AGO))
    assert found(signers).signer == "ada@example.org"
    getattr(keys, form)("ada")
    assert found(signers).why.startswith("its signature does not hold")


def test_an_expired_key_does_not_count_and_only_revocation_stops_it_from_backdating(
    ada: Colleague, keys: Keys, signers: Signers, found: Found
) -> None:
    keys.allow("old", options='namespaces="git",valid-before="20200101"')
    ada.merges({}, **keys.signing("old"))
    assert found(signers).why
    ada.merges({}, **keys.signing("old", GIT_COMMITTER_DATE=OPEN_YEARS_AGO))
    assert found(signers).signer == "old@example.org"
    keys.revoke("old")
    assert found(signers).why


@pytest.mark.fault("HR-12")
def test_a_tampered_mirror_neither_runs_a_verifier_nor_forges_a_verdict(
    ada: Colleague, keys: Keys, signers: Signers, found: Found, tmp_path: Path
) -> None:
    ada.merges({}, **keys.signing("mallory"))
    assert found(signers).why
    canary, forger = tmp_path / "canary", tmp_path / "forger"
    forger.write_text(
        f'#!/bin/sh\ntouch {canary}\necho "Good \\"git\\" signature for ada@example.org with X"\n'
    )
    forger.chmod(0o755)
    mirror = tmp_path / "state" / "mirror.git"
    everyone = tmp_path / "everyone"
    everyone.write_text(f"* {keys.public('mallory')}\n")
    for key in ("gpg.ssh.program", "gpg.program", "gpg.x509.program"):
        git(mirror, "config", key, str(forger))
    git(mirror, "config", "gpg.ssh.allowedSignersFile", str(everyone))
    git(mirror, "config", "gpg.ssh.revocationFile", "/dev/null")
    assert "none of the allowed" in found(signers).why
    assert "none of the allowed" in found(Signers(keys.allowed)).why
    assert not canary.exists()


@pytest.mark.fault("HR-12")
def test_a_tampered_mirror_does_not_have_a_push_signed(mirror: Mirror, tmp_path: Path) -> None:
    canary, program = tmp_path / "canary", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    folder = tmp_path / "state" / "mirror.git"
    for key, value in (("push.gpgSign", "true"), ("gpg.program", str(program))):
        git(folder, "config", key, value)
    sha = mirror.commit(mirror.fetch(), {}, "Say more", at=AT)
    mirror.push(sha)
    assert mirror.contains(sha)
    assert not canary.exists()


@pytest.mark.parametrize("who", ["allowed", "revoked"])
def test_a_file_that_decides_is_there_and_is_nobody_elses_to_write(
    ada: Colleague, keys: Keys, signers: Signers, found: Found, who: str
) -> None:
    ada.merges({}, **keys.signing("ada"))
    path: Path = getattr(keys, who)
    path.chmod(0o664)
    with pytest.raises(HostError, match="others than root and the daemon's user may write"):
        found(signers)
    path.unlink()
    with pytest.raises(HostError, match="No such file"):
        found(signers)
    path.mkdir()
    with pytest.raises(HostError, match="is not a file"):
        found(signers)


# GPG


def test_a_gpg_key_counts_by_its_fingerprint_until_it_is_revoked(
    ada: Colleague, keys: Keys, bob: GpgKey, found: Found, tmp_path: Path
) -> None:
    public, home = tmp_path / "public.asc", tmp_path / "state" / "gnupg"
    public.write_text(bob.public())
    ada.merges({}, **bob.signing())
    assert found(Signers(keys.allowed)).why  # no GPG key is allowed
    signers = Signers(keys.allowed, gpg_home=home)
    prepare_gpg(home, public, signers.gpg_program)
    assert (found(signers).signer, found(signers).why) == (bob.fingerprint, "")
    public.write_text(bob.public() + bob.revocation())
    prepare_gpg(home, public, signers.gpg_program)
    assert found(signers).why == f"its key {bob.fingerprint} is revoked"


def test_a_gpg_key_that_nobody_allowed_does_not_count(
    ada: Colleague, keys: Keys, bob: GpgKey, found: Found, tmp_path: Path
) -> None:
    home = tmp_path / "state" / "gnupg"
    home.mkdir(parents=True)
    ada.merges({}, **bob.signing())
    assert "none of the allowed signers'" in found(Signers(keys.allowed, gpg_home=home)).why


def test_keys_that_gpg_cannot_read_are_refused(tmp_path: Path) -> None:
    keys = tmp_path / "public.asc"
    keys.write_text("no key at all\n")
    with pytest.raises(HostError, match=r"trust\.gpg_keys: .*no valid OpenPGP data"):
        prepare_gpg(tmp_path / "gnupg", keys, Signers(keys).gpg_program)


# Our own commits


def test_our_own_commits_and_notes_are_signed(
    origin: Path, ada: Colleague, keys: Keys, signers: Signers, tmp_path: Path
) -> None:
    ugs = Identity("UGS", "ugs@example.org", keys.private("ugs"))
    remote = Remote(str(origin), environment=ENVIRONMENT)
    mirror = Mirror(tmp_path / "own.git", remote, ugs, signers=signers)
    parent = mirror.fetch()
    sha = mirror.commit(parent, {"README.md": b"new\n"}, "Say more\n\nUgs-Operation: 1\n", at=AT)
    again = mirror.commit(parent, {"README.md": b"new\n"}, "Say more\n\nUgs-Operation: 1\n", at=AT)
    mirror.push(sha)
    mirror.add_notes({sha: {"1": '{"operation": "1"}'}}, at=AT)
    ada.pull()
    ada.git("fetch", "--quiet", "origin", "refs/notes/ugs")
    note = ada.git("rev-parse", "FETCH_HEAD")
    [ours] = mirror.signatures([sha])
    assert (ours.signer, sha) == ("ugs@example.org", again)
    assert [one.signer for one in mirror.signatures([note, sha])] == ["ugs@example.org"] * 2
    assert mirror.own_signature(at=AT).key == ours.key
    (commit,) = mirror.log(parent, sha)
    assert (commit.subject, commit.trailers) == ("Say more", (("Ugs-Operation", "1"),))
    assert git(origin, "fsck", "--strict") == ""
    mirror.close()


def test_a_key_that_cannot_sign_is_said_by_its_name(origin: Path, tmp_path: Path) -> None:
    ugs = Identity("UGS", "ugs@example.org", tmp_path / "nothing")
    mirror = Mirror(tmp_path / "own.git", Remote(str(origin), environment=ENVIRONMENT), ugs)
    with pytest.raises(HostError, match=r"identity\.signing_key: .*nothing"):
        mirror.commit(mirror.fetch(), {}, "Say more", at=AT)
    with pytest.raises(RuntimeError, match="whose signatures count"):
        mirror.signatures([])
    mirror.close()


# What came


def test_what_came_is_told_in_the_order_of_the_branch_with_all_that_it_merged(
    mirror: Mirror, ada: Colleague
) -> None:
    since = mirror.fetch()
    one = ada.commit({"environments/production.yaml": "moved\n"})
    ada.git("checkout", "--quiet", "-b", "side", since)
    side = ada.commit({"environments/staging.yaml": "new\n", "README.md": "other\n"})
    ada.git("checkout", "--quiet", "main")
    ada.git("merge", "--quiet", "--no-ff", "--message=Merge", "side")
    merge = ada.git("rev-parse", "HEAD")
    ada.push()
    tip = mirror.fetch()
    every = mirror.arrivals(since, tip, everything=True)
    assert [(a.commit, a.parent, set(a.commits)) for a in every] == [
        (one, since, {one}),
        (merge, one, {side, merge}),
    ]
    chain = mirror.arrivals(since, tip, everything=False)
    assert [(a.commit, a.parent, a.commits) for a in chain] == [(one, since, (one,)), (merge, one, (merge,))]
    touched = mirror.touched(chain, ["environments", "releases"])
    assert {sha: [file.path for file in files] for sha, files in touched.items()} == {
        one: ["environments/production.yaml"],
        merge: ["environments/staging.yaml"],
    }
    (added,) = touched[merge]
    assert added.before == f"000000:{'0' * 40}"
    assert added.after.startswith("100644:")
    assert mirror.arrivals(tip, tip, everything=True) == []
    first, *_ = mirror.arrivals(None, tip, everything=False)
    assert (first.parent, first.commit) == (None, since)
    assert mirror.touched([first], ["environments"])[since][0].path == "environments/production.yaml"
