"""Docker's SDK with a limit on every call, and with one list that is read straight into our types.

Imported on first use alone: the SDK costs a quarter of a second.
"""

from __future__ import annotations

from typing import Any

import docker
import msgspec
import requests

from reconciler.drivers.docker.seen import Listed
from reconciler.drivers.docker.usage import Stats


class Client(docker.APIClient):
    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        if options.get("timeout") is None:  # the SDK would wait for an image for ever
            options["timeout"] = self.timeout
        return super().request(*arguments, **options)

    def listed(self) -> list[Listed]:
        """Every container of the engine, stopped ones too."""
        answer = self.get(f"{self.base_url}/v{self.api_version}/containers/json", params={"all": 1})
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            docker.errors.create_api_error_from_http_exception(error)
        return msgspec.json.decode(answer.content, type=list[Listed])

    def measured(self, container: str) -> Stats | None:
        """What one container uses; None when it is gone. It is not waited for a second look."""
        params = {"stream": "false", "one-shot": "true"}
        answer = self.get(f"{self.base_url}/v{self.api_version}/containers/{container}/stats", params=params)
        if answer.status_code == requests.codes.not_found:
            return None
        try:
            answer.raise_for_status()
        except requests.HTTPError as error:
            docker.errors.create_api_error_from_http_exception(error)
        return msgspec.json.decode(answer.content, type=Stats)
