"""What an environment's file says of its flags: values, and rules that a schema alone cannot judge."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reconciler.model.document import Path
from reconciler.model.findings import Findings
from reconciler.model.range import Range
from reconciler.model.targeting import ALL_PERCENT, BUCKETS

STEP_PERCENT = ALL_PERCENT / BUCKETS
LISTED = {"is": "one_of", "not": "none_of"}
TEXTS = ("starts_with", "ends_with", "contains")
BOUNDS = ("at_least", "at_most", "above", "below")


def setting(found: Findings, flag: str) -> dict[str, Any]:
    """What the file sets of one flag, ready to convert: a plain value, or a mapping with a value and rules."""
    path: Path = ("flags", flag)
    said = found.document.at(path)
    place = found.document.place(path)
    if not isinstance(said, dict):
        return {"value": said, "place": place}
    rules = said.get("rules", [])
    made = [_rule(found, (*path, "rules", index), rule) for index, rule in enumerate(rules)]
    for index, rule in enumerate(rules[:-1]):
        if "when" not in rule and sum(one["percent"] for one in made[index]["portions"]) >= ALL_PERCENT:
            message = "nobody gets as far as this rule: the one before it gives everyone a value"
            found.add((*path, "rules", index + 1), message, "remove it, or give the one before it a `when`")
            break
    return {"value": said.get("value"), "place": place, "rules": made}


def _rule(found: Findings, path: Path, rule: dict[str, Any]) -> dict[str, Any]:
    when = rule.get("when", {})
    conditions = {name: _condition(found, (*path, "when", name), said) for name, said in when.items()}
    if "split" in rule:
        if rule.keys() & {"value", "percent"}:
            message = "a rule gives either one `value` or a `split`"
            found.add(path, message, "remove one of the two; a split has values and percentages of its own")
        listed = [((*path, "split", index), said) for index, said in enumerate(rule["split"])]
    else:
        listed = [(path, rule)]
        if "value" not in rule:
            found.add(path, "this rule gives no value", "add `value`, or `split`")
    portions = [_portion(found, at, said) for at, said in listed]
    _check_sum(found, path, portions)
    if "by" in rule and all(one["percent"] in (0.0, ALL_PERCENT) for one in portions):
        message = "everyone gets the same here, so there is nothing to share out"
        found.add((*path, "by"), message, "remove it, or add `percent`")
    return {"when": conditions, "portions": portions} | ({"by": rule["by"]} if "by" in rule else {})


def _portion(found: Findings, path: Path, said: dict[str, Any]) -> dict[str, Any]:
    percent = float(said.get("percent", ALL_PERCENT))
    if abs(percent / STEP_PERCENT - round(percent / STEP_PERCENT)) > STEP_PERCENT:
        message = "a percentage has at most three decimals"
        found.add((*path, "percent"), message, f"write for example {percent:.3f}")
    return {"value": said.get("value"), "place": found.document.place((*path, "value")), "percent": percent}


def _check_sum(found: Findings, path: Path, portions: list[dict[str, Any]]) -> None:
    together = round(sum(one["percent"] for one in portions), 3)
    if together > ALL_PERCENT:
        message = f"the portions are {together:g} % together"
        remedy = "lower them to 100 at most; who gets none goes on to the next rule"
        found.add((*path, "split"), message, remedy)


def _condition(found: Findings, path: Path, said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        return {"one_of": _several(found, path, said)}
    condition: dict[str, Any] = {}
    for key in (*LISTED, *TEXTS):
        if key in said:
            condition[LISTED.get(key, key)] = _several(found, (*path, key), said[key])
    condition |= {key: float(said[key]) for key in BOUNDS if key in said}
    if "version" in said and found.valid((*path, "version"), Range.parse):
        condition["version"] = said["version"]
    lowest = max(condition.get("at_least", -float("inf")), condition.get("above", -float("inf")))
    highest = min(condition.get("at_most", float("inf")), condition.get("below", float("inf")))
    strict = lowest == condition.get("above") or highest == condition.get("below")
    if lowest > highest or (lowest == highest and strict):
        found.add(path, "no number is between these", "lower the lower one, or raise the higher one")
    return condition


def _several(found: Findings, path: Path, said: Any) -> list[Any]:
    values = said if isinstance(said, list) else [said]
    # In text: 1, true and "1" are three values.
    twice = [text for text, times in Counter(map(repr, values)).items() if times > 1]
    if twice:
        found.add(path, f"{twice[0]} is listed twice", "remove one")
    return values
