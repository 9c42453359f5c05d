"""The JSON Schemas in docs/, without the room that they leave for keys of later versions."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_DOCS = Path(__file__).parents[1] / "docs"


@cache
def schema(name: str) -> dict[str, Any]:
    """A schema as it is: of "slide", "study" or "patient"."""
    found: dict[str, Any] = json.loads((_DOCS / f"{name}.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(found)
    return found


def closed(part: Any) -> Any:
    """The schema, refusing keys that it does not name."""
    if isinstance(part, list):
        return [closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    inner = {key: closed(value) for key, value in part.items()}
    return {"additionalProperties": False, **inner} if "properties" in part else inner


def validate(content: Any, name: str) -> None:
    """Fails for what has other keys or values than the schema says."""
    Draft202012Validator(closed(schema(name))).validate(content)
