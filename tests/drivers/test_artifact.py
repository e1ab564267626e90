"""From a manifest's URL to a directory that is ready to run."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reconciler.drivers.archive import artifact, fetch
from reconciler.drivers.archive.artifact import prepare
from reconciler.drivers.base import Site
from reconciler.drivers.layout import directory_of, is_complete
from reconciler.model.detached import parse_key
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.release import Archive, Artifact, ConfigFile
from reconciler.model.target import Workload
from tests.drivers.services import build_archive, sha256_of, work_for

PLACE = "releases/api/1.4.0.yaml:3:1"


class Shelf(BaseHTTPRequestHandler):
    """Serves one archive, and every way in which a server can fail to."""

    content = b""

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["whole"]:
                self._send(200, self.content, length=len(self.content))
            case ["short"]:
                self._send(200, self.content[:-10], length=len(self.content))
            case ["status", code]:
                self._send(int(code), b"sorry", length=5)
            case ["to", *rest]:
                self.send_response(302)
                self.send_header("Location", "/".join(rest))
                self.send_header("Content-Length", "0")
                self.end_headers()
            case ["loop"]:
                self.send_response(302)
                self.send_header("Location", "/loop")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case _:
                self.wfile.write(b"this is not http\r\n\r\n")

    def _send(self, code: int, body: bytes, *, length: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, str]:
    return build_archive(tmp_path / "archives", "1.4.0")


@pytest.fixture
def server(archive: tuple[Path, str]) -> Iterator[str]:
    Shelf.content = archive[0].read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as shelf:
        thread = threading.Thread(target=shelf.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{shelf.server_port}"
        shelf.shutdown()
        thread.join()


def work_at(archive: tuple[Path, str], url: str) -> Workload:
    return work_for(archive, "1.4.0", port=8080, url=url)


def test_an_archive_comes_over_http(site: Site, archive: tuple[Path, str], server: str) -> None:
    directory = prepare(site, work_at(archive, f"{server}/whole"), "HEAD")
    assert (directory / "bin/api").is_file()
    assert is_complete(directory, archive[1])
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_an_archive_may_stand_in_the_repository(site: Site, archive: tuple[Path, str]) -> None:
    asked: list[tuple[str, str]] = []

    def blob(revision: str, path: str) -> bytes:
        asked.append((revision, path))
        return archive[0].read_bytes()

    site = msgspec.structs.replace(site, blob=blob, artifacts_allowed=())
    prepare(site, work_at(archive, "artifacts/api.tar.gz"), "abc123")
    assert asked == [("abc123", "artifacts/api.tar.gz")]


def test_what_is_complete_is_not_done_again(site: Site, archive: tuple[Path, str]) -> None:
    work = work_for(archive, "1.4.0", port=8080)
    prepare(site, work, "HEAD")
    archive[0].unlink()
    prepare(site, work, "HEAD")


def test_what_a_killed_daemon_left_half_done_goes(site: Site, archive: tuple[Path, str]) -> None:
    work = work_for(archive, "1.4.0", port=8080)
    directory = directory_of(site, work)
    half = directory.parent / f".{directory.name}-killed"
    (half / "release").mkdir(parents=True)
    directory.mkdir()
    (directory / "debris").touch()
    prepare(site, work, "HEAD")
    assert not half.exists()
    assert not (directory / "debris").exists()


@pytest.mark.fault("RT-08")
def test_a_wrong_digest_names_both_and_the_manifest(site: Site, archive: tuple[Path, str]) -> None:
    work = work_for((archive[0], "0" * 64), "1.4.0", port=8080)
    with pytest.raises(ArtifactError) as caught:
        prepare(site, work, "HEAD")
    for part in (PLACE, "artifact.archive.sha256", "0" * 64, archive[1]):
        assert part in str(caught.value)
    assert list(directory_of(site, work).parent.iterdir()) == []


@pytest.fixture
def signing(site: Site) -> tuple[Site, EllipticCurvePrivateKey]:
    """A site that asks for signatures, and the key that makes them as cosign does."""
    key = generate_private_key(SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return msgspec.structs.replace(site, artifact_keys=(parse_key(pem),)), key


def signed_by(key: EllipticCurvePrivateKey, path: Path, archive: tuple[Path, str]) -> Workload:
    """The workload whose signature, of what is at `path`, stands beside the archive."""
    signature = archive[0].with_name("signature")
    signature.write_bytes(b64encode(key.sign(path.read_bytes(), ECDSA(SHA256()))))
    work = work_for(archive, "1.4.0", port=8080)
    named = Archive(archive[0].as_uri(), archive[1], signature.as_uri())
    release = msgspec.structs.replace(work.release, artifact=Artifact(named))
    return msgspec.structs.replace(work, release=release)


def test_an_archive_that_a_key_of_ours_signed_is_unpacked(
    signing: tuple[Site, EllipticCurvePrivateKey], archive: tuple[Path, str]
) -> None:
    site, key = signing
    assert (prepare(site, signed_by(key, archive[0], archive), "HEAD") / "bin/api").is_file()


def test_an_archive_without_a_signature_by_one_of_our_keys_is_not_unpacked(
    signing: tuple[Site, EllipticCurvePrivateKey], archive: tuple[Path, str], tmp_path: Path
) -> None:
    site, key = signing
    unsigned, other = work_for(archive, "1.4.0", port=8080), tmp_path / "other"
    other.write_text("another archive\n")
    empty = archive[0].with_name("empty")
    empty.touch()
    for work, why in (
        (unsigned, "the archive is not signed"),
        (signed_by(key, empty, (empty, sha256_of(empty))), "the archive is empty"),
        (signed_by(key, other, archive), "of something else"),
        (signed_by(generate_private_key(SECP256R1()), archive[0], archive), "by none of artifacts.keys"),
    ):
        with pytest.raises(ArtifactError, match=rf"{PLACE}.*: artifact\.archive\.signature: .*{why}"):
            prepare(site, work, "HEAD")
    assert list(directory_of(site, unsigned).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("status/404", r"the artifact is not there \(404\)"),
        ("status/410", r"is not there \(410\)"),
        ("status/503", r"cannot be fetched \(503\)"),
        ("loop", "cannot be fetched"),
        ("short", r"only \d+ of \d+ bytes"),
        ("garbage", "cannot fetch"),
    ],
)
def test_what_a_server_cannot_give_now_may_come_later(
    site: Site, archive: tuple[Path, str], server: str, path: str, what: str
) -> None:
    with pytest.raises(TransientError, match=what) as caught:
        prepare(site, work_at(archive, f"{server}/{path}"), "HEAD")
    assert PLACE in str(caught.value)


def test_a_server_that_is_not_there_may_be_later(site: Site, archive: tuple[Path, str]) -> None:
    with pytest.raises(TransientError, match=r"cannot fetch http://127.0.0.1:1/x: .*refused"):
        prepare(site, work_at(archive, "http://127.0.0.1:1/x"), "HEAD")


def test_a_missing_file_may_come_later(site: Site, archive: tuple[Path, str]) -> None:
    with pytest.raises(TransientError, match="not there: /no/such/archive"):
        prepare(site, work_at(archive, "file:///no/such/archive"), "HEAD")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "https://other.example/a.tar.gz",
        "http://127.0.0.1.evil.example/a.tar.gz",
        "http://127.0.0.1:80@evil.example/a.tar.gz",
        "file:///srv/artifacts/../../etc/passwd",
        "file:///srv/artifacts/%2e%2e/%2e%2e/etc/passwd",
        "ftp://127.0.0.1/a",
        "https://store.example.evil/a",
    ],
)
def test_a_place_that_is_not_allowed_says_which_are(site: Site, archive: tuple[Path, str], url: str) -> None:
    allowed = ("file:///srv/artifacts/", "http://127.0.0.1:80", "https://store.example")
    site = msgspec.structs.replace(site, artifacts_allowed=allowed)
    with pytest.raises(HostError, match="is not allowed here") as caught:
        prepare(site, work_at(archive, url), "HEAD")
    assert "file:///srv/artifacts/, http://127.0.0.1:80, https://store.example" in str(caught.value)
    assert "artifacts.allow in ugs.yaml" in caught.value.remedy


def test_a_redirect_leads_only_to_where_the_archive_may_come_from(
    site: Site, archive: tuple[Path, str], server: str
) -> None:
    prepare(site, work_at(archive, f"{server}/to/{server}/whole"), "HEAD")
    elsewhere = server.replace("127.0.0.1", "localhost")
    other = work_for(archive, "1.4.0", port=8081, url=f"{server}/to/{elsewhere}/whole")
    with pytest.raises(HostError, match=r"localhost.*is not allowed here"):
        prepare(site, other, "HEAD")


@pytest.mark.parametrize("url", ["http://[nonsense/a", "file://host/a", "gopher://127.0.0.1/a"])
def test_what_is_no_fetchable_url_can_never_be_right(site: Site, archive: tuple[Path, str], url: str) -> None:
    site = msgspec.structs.replace(site, artifacts_allowed=("http://", "file://", "gopher://"))
    with pytest.raises(ArtifactError, match=r"artifact\.archive\.url"):
        prepare(site, work_at(archive, url), "HEAD")


def test_too_large_an_archive_can_never_be_right(
    site: Site, archive: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "ARCHIVE_BYTES_MAX", 10)
    with pytest.raises(ArtifactError, match="larger than 10 bytes"):
        prepare(site, work_for(archive, "1.4.0", port=8080), "HEAD")


def test_too_slow_an_archive_may_come_faster_later(
    site: Site, archive: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "FETCH_TIMEOUT_S", -1.0)
    with pytest.raises(TransientError, match="took longer"):
        prepare(site, work_for(archive, "1.4.0", port=8080), "HEAD")


def test_a_full_disk_is_the_hosts_trouble(
    site: Site, archive: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/state/file")

    monkeypatch.setattr(artifact, "unpack", full)
    with pytest.raises(HostError, match=r"cannot unpack api .*: '/state/file': No space left") as caught:
        prepare(site, work_for(archive, "1.4.0", port=8080), "HEAD")
    assert caught.value.remedy == "free some disk space"


# Config


def with_config(tmp_path: Path, text: str, *, path: str = "etc/api.toml") -> Workload:
    built = build_archive(tmp_path / "archives", "1.4.0", files={"etc/api.toml": text})
    config = (
        ConfigFile(path=path, values={"workers": 4, "debug": True, "extra": None, "log-level": "info"}),
    )
    return work_for(built, "1.4.0", port=8080, config=config)


def test_config_is_rendered_where_the_release_is(site: Site, tmp_path: Path) -> None:
    text = "n=${workers} d=${debug} e='${extra}' l=${log-level} ${service} ${version} ${environment} ${port} $$5\n"
    file = prepare(site, with_config(tmp_path, text), "HEAD") / "etc/api.toml"
    assert file.read_text() == "n=4 d=true e='' l=info api 1.4.0 production 8080 $5\n"
    assert file.stat().st_mode & 0o777 == 0o640


def test_another_config_of_the_same_version_stands_beside(site: Site, tmp_path: Path) -> None:
    work = with_config(tmp_path, "n=${workers}\n")
    other = msgspec.structs.replace(
        work, config={"workers": 9}, target=msgspec.structs.replace(work.target, digest="f" * 12)
    )
    first, second = prepare(site, work, "HEAD"), prepare(site, other, "HEAD")
    assert first.parent == second.parent
    assert (first / "etc/api.toml").read_text() == "n=4\n"
    assert (second / "etc/api.toml").read_text() == "n=9\n"


@pytest.mark.parametrize(
    ("text", "path", "why"),
    [
        ("${unknown}", "etc/api.toml", "nobody declares"),
        ("costs $5", "etc/api.toml", "Invalid placeholder"),
        ("fine", "etc/other.toml", "the archive has no such file"),
        ("fine", "etc", "the archive has no such file"),
        ("fine", "../../escape", "stands outside the release"),
        ("fine", "/etc/passwd", "stands outside the release"),
        ("x" * (1024 * 1024 + 1), "etc/api.toml", "larger than"),
    ],
)
def test_config_that_can_never_be_right(site: Site, tmp_path: Path, text: str, path: str, why: str) -> None:
    work = with_config(tmp_path, text, path=path)
    with pytest.raises(ArtifactError, match=f"{PLACE}: config: {path}: .*{why}"):
        prepare(site, work, "HEAD")
    assert not directory_of(site, work).exists()
