"""Signing and verifying commits with programs, keys and revocations that ugs.yaml pins.

`git verify-commit` of a tip passes whatever lies under it, so every new commit is looked at by itself.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from reconciler import command
from reconciler.git.call import Git, checked
from reconciler.git.errors import clean, plain
from reconciler.model.errors import HostError
from reconciler.model.trust import Signature, Touched

SSH_PROGRAM = Path("/usr/bin/ssh-keygen")
GPG_PROGRAM = Path("/usr/bin/gpg")
PROGRAM_TIMEOUT_S = 30.0
DETAIL_CHARACTERS_MAX = 200
FIELDS = ("%H", "%G?", "%GS", "%GF", "%GP", "%GG")
GPG_SETTINGS = "trust-model always\nno-auto-key-retrieve\nno-autostart\n"
"""In a home that holds the allowed keys and no others, being there is what makes a key trusted."""

_WHY = {
    "N": "it is not signed",
    "U": "its key {key} is none of the allowed signers'",
    "E": "its signature cannot be checked: its key is none of the allowed signers'",
    "X": "its signature has expired",
    "Y": "its key {key} has expired",
    "R": "its key {key} is revoked",
}
_BAD = "its signature does not hold: forged, by a revoked key, or from when the key was not valid"


class Signers(Struct, frozen=True):
    """Whose signatures count, and with what they are checked. Nothing in a repository can change any of it."""

    allowed: Path
    """In OpenSSH's allowed_signers format; read anew at every verification."""
    revoked: Path | None = None
    """A KRL, or public keys one a line."""
    gpg_home: Path | None = None
    """A GnuPG home that holds the allowed keys alone; see `prepare_gpg`."""
    ssh_program: Path = SSH_PROGRAM
    gpg_program: Path = GPG_PROGRAM

    def configuration(self) -> tuple[tuple[str, str], ...]:
        """What git is told, stronger than any repository's own configuration."""
        gpg = str(self.gpg_program) if self.gpg_home else "/bin/false"
        return (
            ("gpg.program", gpg),
            ("gpg.openpgp.program", gpg),
            ("gpg.x509.program", "/bin/false"),
            ("gpg.ssh.program", str(self.ssh_program)),
            ("gpg.ssh.allowedSignersFile", str(self.allowed)),
            ("gpg.ssh.revocationFile", str(self.revoked or "/dev/null")),
        )


def vouch(path: Path, key: str) -> None:
    """See that nobody but root and this user can change a file that decides. Raises HostError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise HostError(f"{key}: {path} is not a file", "name a file")
        with path.open("rb"):
            pass
    except OSError as error:
        # git itself would warn of a revocation file that is not there, and pass what it revokes.
        raise HostError(f"{key}: {path}: {error.strerror}", "write it, readable for the daemon") from error
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in {0, os.geteuid()}:
        raise HostError(
            f"{key}: others than root and the daemon's user may write {path}",
            f"chmod go-w {path}; chown root",
        )


def prepare_gpg(home: Path, keys: Path, program: Path) -> None:
    """Make a GnuPG home that holds exactly the public keys of a file. Raises HostError."""
    vouch(keys, "trust.gpg_keys")
    try:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True, mode=0o700)
        (home / "gpg.conf").write_text(GPG_SETTINGS, encoding="ascii")
    except OSError as error:
        raise HostError(f"{home}: {error.strerror}", "make the state folder writable") from error
    result = command.run(
        (str(program), "--batch", "--quiet", "--import", str(keys)),
        timeout_s=PROGRAM_TIMEOUT_S,
        environment={"PATH": os.defpath, "GNUPGHOME": str(home), "LC_ALL": "C"},
    )
    if result.code != 0:
        raise HostError(f"trust.gpg_keys: {keys}: {clean(result.stderr)}", "write what `gpg --export` prints")


def verify(git: Git, signers: Signers, commits: Sequence[str]) -> list[Signature]:
    """What stands of the signature of each of these commits, in their order. Raises HostError."""
    vouch(signers.ssh_program, "trust.programs.ssh")
    vouch(signers.allowed, "trust.signers")
    if signers.revoked:
        vouch(signers.revoked, "trust.revoked")
    if signers.gpg_home:
        vouch(signers.gpg_program, "trust.programs.gpg")
    if not commits:
        return []  # git would take the branch that it is on
    said = git.local(
        *("log", "--no-walk=unsorted", "--stdin", "-z", f"--format={'%x00'.join(FIELDS)}"),
        stdin="".join(f"{checked(sha)}\n" for sha in commits).encode(),
        configuration=signers.configuration(),
        variables={"GNUPGHOME": str(signers.gpg_home)} if signers.gpg_home else {},
    )
    fields = said.decode("utf-8", "replace").removesuffix("\0").split("\0")
    found = {one.commit: one for one in _signatures(fields)}
    return [found[sha] for sha in commits]


def _signatures(fields: Sequence[str]) -> Iterator[Signature]:
    for start in range(0, len(fields) - len(FIELDS) + 1, len(FIELDS)):
        sha, code, name, key, primary, said = fields[start : start + len(FIELDS)]
        # A GPG key's owner writes its user ids as they please: its fingerprint is who it is.
        signer = primary or plain(name)
        if code == "G" and signer:
            yield Signature(sha, signer, key)
        else:
            why = _WHY.get(code, _BAD).format(key=primary or key)
            detail = clean(said.encode())[:DETAIL_CHARACTERS_MAX] if code == "B" else ""
            yield Signature(sha, "", key, f"{why} ({detail})" if detail else why)


def signed(git: Git, commit: str, key: Path, program: Path) -> str:
    """The id of the same commit with a signature by an SSH key. Raises HostError."""
    raw = git.local("cat-file", "commit", checked(commit))
    result = command.run(
        (str(program), "-Y", "sign", "-n", "git", "-f", str(key)),
        timeout_s=PROGRAM_TIMEOUT_S,
        environment={"PATH": os.defpath, **git.remote.environment},
        stdin=raw,
    )
    if result.code != 0 or not result.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise HostError(
            f"identity.signing_key: {key}: {clean(result.stderr) or f'exit code {result.code}'}",
            "name a private SSH key without a passphrase, mode 0600, of the daemon's user",
        )
    head, _, message = raw.partition(b"\n\n")
    signature = result.stdout.rstrip(b"\n").replace(b"\n", b"\n ")
    whole = head + b"\ngpgsig " + signature + b"\n\n" + message
    return git.local("hash-object", "-t", "commit", "-w", "--stdin", stdin=whole).decode("ascii").strip()


class Arrival(Struct, frozen=True):
    """A first-parent commit that came: its first parent, and all that came with it, itself last."""

    commit: str
    parent: str | None
    commits: tuple[str, ...]


def arrivals(git: Git, since: str | None, tip: str, *, everything: bool) -> list[Arrival]:
    """The first-parent commits of `tip` that `since` does not reach, oldest first.

    With `everything`, each brings the commits that it merged, else itself alone.
    """
    walk = ("rev-list", "--parents", "--topo-order", checked(tip), *([f"^{checked(since)}"] if since else []))
    lines = git.local(*walk, *([] if everything else ["--first-parent"])).decode("ascii").splitlines()
    parents = {sha: tuple(above) for sha, *above in map(str.split, lines)}
    chain, at = [], tip if tip in parents else None
    while at is not None:
        first = parents[at][0] if parents[at] else None
        chain.append((at, first))
        at = first if first in parents else None
    known: set[str] = set()
    return [
        Arrival(sha, first, tuple(_brought(sha, parents, known)) if everything else (sha,))
        for sha, first in reversed(chain)
    ]


def _brought(sha: str, parents: dict[str, tuple[str, ...]], known: set[str]) -> list[str]:
    """What `sha` reaches and nothing before it did; itself last."""
    found, to_do = [], [sha]
    while to_do:
        at = to_do.pop()
        if at in parents and at not in known:
            known.add(at)
            found.append(at)
            to_do.extend(parents[at])
    return found[::-1]


_RECORD = re.compile(r":(\d+) (\d+) ([0-9a-f]+) ([0-9a-f]+) [A-Z]\d*")


def touched(git: Git, arrived: Sequence[Arrival], paths: Sequence[str]) -> dict[str, list[Touched]]:
    """By commit, the files under these paths in which it differs from its first parent."""
    pairs = "".join(f"{checked(one.commit)} {one.parent or ''}".rstrip() + "\n" for one in arrived)
    options = ("--stdin", "--root", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff")
    said = git.local("diff-tree", *options, "--", *paths, stdin=pairs.encode())
    found: dict[str, list[Touched]] = {}
    tokens = iter(said.decode("utf-8", "backslashreplace").split("\0")[:-1])
    here: list[Touched] = []
    for token in tokens:
        if record := _RECORD.fullmatch(token):
            mode, new_mode, blob, new_blob = record.groups()
            here.append(Touched(next(tokens), f"{mode}:{blob}", f"{new_mode}:{new_blob}"))
        else:
            here = found.setdefault(token, [])
    return found
