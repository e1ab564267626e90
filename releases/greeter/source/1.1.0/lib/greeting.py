"""1.1.0: the greeting knows the time of day."""

from collections.abc import Mapping
from datetime import datetime


def greet(settings: Mapping[str, str]) -> str:
    hour = datetime.now().astimezone().hour
    time_of_day = "morning" if hour < 12 else "afternoon" if hour < 18 else "evening"
    return f"{settings['greeting']}, and a good {time_of_day}!"


def check(settings: Mapping[str, str]) -> None:
    greet(settings)
