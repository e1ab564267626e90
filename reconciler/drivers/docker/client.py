"""The engine's API through Docker's own SDK: every call has a time limit, every refusal is one of our errors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from reconciler.clock import SystemClock
from reconciler.drivers.base import Registry
from reconciler.model.errors import ArtifactError, HostError, TransientError, UgsError

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client

CALL_TIMEOUT_S = 30
PULL_TIMEOUT_S = 1800.0
PULL_SILENCE_S = 120
FREE_DISK = "free some disk space"
LATER = "it is tried again; see that the registry can be reached"
HUB = "docker.io"


@contextmanager
def engine(url: str, doing: str, *, timeout_s: int = CALL_TIMEOUT_S) -> Iterator[Client]:
    """A client of the engine. Raises HostError, TransientError or ArtifactError for what it refuses.

    `doing`: what is being done, for messages.
    """
    import docker
    import requests

    from reconciler.drivers.docker.session import Client

    _knock(url, doing, timeout_s)
    try:
        with closing(Client(base_url=url, version="auto", timeout=timeout_s)) as client:
            client.trust_env = False  # a proxy is for the network, and the engine is here
            yield client
    except docker.errors.APIError as error:
        raise refusal(doing, error.status_code or 0, str(error.explanation or error)) from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise unreachable(doing, url, error) from error


def _knock(url: str, doing: str, timeout_s: float) -> None:
    """See that somebody opens, before the SDK tries: it would wrap the reason, and leave a socket behind."""
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(timeout_s)
            door.connect(url.removeprefix("unix://"))
    except OSError as error:
        raise unreachable(doing, url, error) from error


def unreachable(doing: str, url: str, error: Exception) -> HostError:
    """The engine did not answer, or not to us."""
    if isinstance(error, PermissionError):
        remedy = "let the daemon's user use the socket (the group docker)"
        return HostError(f"cannot {doing}: we may not talk to the engine at {url}", remedy)
    if isinstance(error, TimeoutError) or "timed out" in str(error).lower():
        return HostError(f"cannot {doing}: the engine at {url} does not answer", "see what it waits for")
    return HostError(f"cannot {doing}: the engine at {url} cannot be reached", "start it, or mend its socket")


def refusal(doing: str, status: int, text: str) -> UgsError:
    """What the engine said, by whose it is to mend."""
    text = " ".join(text.split())
    said = f"cannot {doing}: {text}"
    if "no space left on device" in text:
        return HostError(said, FREE_DISK)
    if "port is already allocated" in text or "address already in use" in text:
        return HostError(said, "stop what holds the port, or pin another")
    if "is already in use by container" in text:
        return HostError(said, "rename or remove that container: its name is needed here")
    if ("container process" in text and 'exec: "' in text) or "unable to find user" in text:
        return ArtifactError(said, "mend the image, or run.command and run.container, in a new release")
    if "bind source path does not exist" in text:
        return HostError(said, "make it; the state folder must have the same path for the engine")
    if status == 404 and "network" in text:
        return HostError(said, "create the network, or name another")
    if status == 404 and "No such image" in text:
        return HostError(said, "let it be prepared again")
    return HostError(said, "see to the engine, then try again")


def pull(client: Client, image: str, registry: Registry | None, *, place: str) -> None:
    """Fetch an image by its digest. `place`: where the manifest names it, for messages.

    Raises ArtifactError for an image that a registry which answers does not have, or whose digest is another.
    """
    import docker

    # Never None: then the SDK would look into the configuration of whoever runs the daemon.
    login = {"username": registry.username, "password": registry.password()} if registry else {}
    clock = SystemClock()
    deadline_s = clock.monotonic() + PULL_TIMEOUT_S
    client.timeout = PULL_SILENCE_S
    try:
        for line in client.pull(image, stream=True, decode=True, auth_config=login):
            if "error" in line:
                raise pull_trouble(image, str(line["error"]), place)
            if clock.monotonic() > deadline_s:
                raise TransientError(f"{place}: {image} took longer than {PULL_TIMEOUT_S:g} s", LATER)
    except docker.errors.APIError as error:
        raise pull_trouble(image, str(error.explanation or error), place) from error
    finally:
        client.timeout = CALL_TIMEOUT_S


def pull_trouble(image: str, text: str, place: str) -> UgsError:
    """What the engine says about an image that it could not fetch."""
    text = " ".join(text.split())
    lower = text.lower()
    if "no space left on device" in lower:
        return HostError(f"{place}: {image} cannot be stored: {text}", FREE_DISK)
    if any(word in lower for word in ("denied", "unauthorized", "no basic auth", "authentication required")):
        remedy = f"set registries.{registry_of(image)} in ugs.yaml, or mend what it says"
        return HostError(f"{place}: the registry does not let us have {image}: {text}", remedy)
    if "toomanyrequests" in lower:
        return TransientError(f"{place}: the registry does not hand out {image} now: {text}", LATER)
    if any(word in lower for word in ("verification failed", "unexpected digest", "digest did not match")):
        remedy = "publish the right image as a new release"
        return ArtifactError(f"{place}: what is at {image} has another digest: {text}", remedy)
    if any(
        word in lower for word in ("manifest unknown", "name unknown", "not found: ", "no matching manifest")
    ):
        return ArtifactError(f"{place}: there is no {image}: {text}", "push it, and name it in a new release")
    return TransientError(f"{place}: {image} cannot be fetched: {text}", LATER)


def registry_of(image: str) -> str:
    """The host, with its port if it has one, of an image's name; Docker's own registry where it has none."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB
