"""Real keys: whoever signs commits, and the files in which a daemon's configuration says whose signatures count."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp

from tests.git.colleague import ENVIRONMENT


def run(*argv: str | Path, environment: Mapping[str, str] = ENVIRONMENT) -> str:
    """What a program prints; raises CalledProcessError when it fails."""
    process = subprocess.run([*map(str, argv)], capture_output=True, check=True, env=dict(environment))
    return process.stdout.decode()


class Keys:
    """SSH key pairs in one folder, made when first named."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "keys"
        self.folder.mkdir()
        self.allowed = self.folder / "allowed_signers"
        self.revoked = self.folder / "revoked"
        self.allowed.touch(mode=0o644)
        self.revoked.touch(mode=0o644)

    def private(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path)
        return path

    def public(self, name: str) -> str:
        """`ssh-ed25519 AAAA…`"""
        return " ".join(self.private(name).with_suffix(".pub").read_text().split()[:2])

    def allow(self, *names: str, options: str = 'namespaces="git"') -> None:
        """Add signers, as `NAME@example.org`."""
        with self.allowed.open("a") as file:
            file.writelines(f"{name}@example.org {options} {self.public(name)}\n" for name in names)

    def revoke(self, name: str) -> None:
        """As a list of keys; see `krl` for the other form."""
        with self.revoked.open("a") as file:
            file.write(f"{self.public(name)}\n")

    def krl(self, name: str) -> None:
        """As a key revocation list."""
        run("ssh-keygen", "-q", "-k", "-f", self.revoked, self.private(name).with_suffix(".pub"))

    def signing(self, name: str, **more: str) -> dict[str, str]:
        """The environment in which git signs every commit with this key."""
        return more | configured(
            {"gpg.format": "ssh", "user.signingKey": str(self.private(name)), "commit.gpgSign": "true"}
        )


def configured(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that give git these settings."""
    pairs = {"GIT_CONFIG_COUNT": str(len(settings))}
    for index, (key, value) in enumerate(settings.items()):
        pairs |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return pairs


class GpgKey:
    """One GPG key in a home of its own, which has a short path: its agent's socket is in it."""

    def __init__(self, name: str, *, expires: str = "never") -> None:
        self.home = Path(mkdtemp(prefix="gpg-", dir="/tmp"))
        self.environment = {**ENVIRONMENT, "GNUPGHOME": str(self.home)}
        self.address = f"{name}@example.org"
        unlocked = ("--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
        self._gpg(*unlocked, "--quick-gen-key", f"{name} <{self.address}>", "ed25519", "sign", expires)

    def _gpg(self, *argv: str) -> str:
        return run("gpg", *argv, environment=self.environment)

    def close(self) -> None:
        """End the agent that gpg has started, and remove the home."""
        run("gpgconf", "--kill", "all", environment=self.environment)
        run("rm", "-r", self.home)

    @property
    def fingerprint(self) -> str:
        lines = self._gpg("--with-colons", "--list-keys").splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def public(self) -> str:
        return self._gpg("--armor", "--export")

    def revocation(self) -> str:
        """The certificate that gpg keeps for the day on which the key is lost."""
        text = (self.home / "openpgp-revocs.d" / f"{self.fingerprint}.rev").read_text()
        return text[text.index(":-----BEGIN") + 1 :]

    def signing(self) -> dict[str, str]:
        settings = {"gpg.format": "openpgp", "user.signingKey": self.address, "commit.gpgSign": "true"}
        return configured(settings) | {"GNUPGHOME": str(self.home)}
