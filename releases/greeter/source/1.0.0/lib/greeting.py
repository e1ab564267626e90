"""1.0.0: one greeting for everybody."""

from collections.abc import Mapping


def greet(settings: Mapping[str, str]) -> str:
    return f"{settings['greeting']}, world!"


def check(settings: Mapping[str, str]) -> None:
    greet(settings)
