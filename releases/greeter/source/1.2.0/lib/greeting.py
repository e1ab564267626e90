"""1.2.0: greetings in every language. It starts, and it is broken: nobody packed the translations."""

import json
from collections.abc import Mapping
from pathlib import Path

TRANSLATIONS = Path(__file__).parent / "translations.json"


def greet(settings: Mapping[str, str]) -> str:
    translations = json.loads(TRANSLATIONS.read_text(encoding="utf-8"))
    return f"{translations[settings['greeting']]}, world!"


def check(settings: Mapping[str, str]) -> None:
    greet(settings)
