"""What is wrong with a model card, in sentences: what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]


def sentences(error: ValidationError, card: type[BaseModel]) -> str:
    """One sentence for each mistake. That a list is too short is left out where its entries' own mistakes are told."""
    found = error.errors()
    inside = {e["loc"][:n] for e in found for n in range(len(e["loc"]))}
    told = [e for e in found if e["type"] != "too_short" or e["loc"] not in inside]
    return " ".join(dict.fromkeys(_sentence(e, card) for e in told))


def yaml_sentence(error: yaml.YAMLError | ValueError, text: str, lines_above: int) -> str:
    """What is no YAML in `text`, with its line in a file that has so many lines above it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        line, reason = error.problem_mark.line, f"{error.problem}"
        if error.context:
            begin = f" that begins in line {lines_above + error.context_mark.line + 1}" if error.context_mark else ""
            reason += f" ({error.context}{begin})"
    elif isinstance(error, yaml.reader.ReaderError):
        line, reason = text.count("\n", 0, error.position), f"unacceptable character {chr(error.character)!r}"
    else:
        return f"A date in them does not exist ({error}): put it in quotes if it is text."
    return (
        f"Line {lines_above + line + 1}: {reason}. Mend that line or one before it; text with a colon, a quote or "
        f"another sign of YAML goes in quotes."
    )


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about a name that there is not."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(known) if len(known) < 20 else "those of https://spdx.org/licenses"
    return f"did you mean {close[0]!r}" if close else f"known are {listed}"


def _sentence(error: ErrorDetails, card: type[BaseModel]) -> str:
    kind, value, loc = error["type"], error["input"], error["loc"]
    if loc[:1] == ("figures",) and len(loc) > 2:
        return f"figures.{loc[1]} is {_shown(value)}: it must be a number or text."  # once, not for each of the two
    place = ".".join(str(p) for p in loc)
    if kind in ("extra_forbidden", "invalid_key"):
        return f"There is no field {place!r}: {nearest(str(loc[-1]), _names(_owner(card, loc[:-1])))}."
    if kind == "missing":
        return f"{place} is missing: add it."
    if kind == "value_error":
        where = {"": "Contact", "prose": "Below the settings"}.get(place, place)
        return f"{where}: {error['msg'].removeprefix('Value error, ')}."
    if value is None:
        return f"{place} is empty: fill it in or take it out."
    return f"{place} is {_shown(value)}: {_wanted(error, card)}."


def _wanted(error: ErrorDetails, card: type[BaseModel]) -> str:
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    if kind == "string_type":
        return (
            "it must be one text, not a list" if isinstance(value, list | dict) else "it must be text: put it in quotes"
        )
    if kind == "string_too_short":
        return f"it must have at least {limits['min_length']} characters"
    if kind == "string_too_long":
        return f"it has {len(value)} characters: shorten it to {limits['max_length']} or fewer"
    if kind == "string_pattern_mismatch":
        return f"give {_described(card, error['loc'])}"
    if kind == "too_short":
        return f"give at least {limits['min_length']}"
    owner = _owner(card, error["loc"])
    first, given = _names(owner)[0], value if isinstance(value, str) else "..."
    if kind == "tuple_type":
        entries = f", e.g. [{given}]" if owner is card else f" whose entries begin with `- {first}: `"
        return f"it must be a list{entries}"
    if kind == "model_type":
        return f"it must be indented `key: value` lines, e.g. `{first}: {given}`"
    if kind == "dict_type":
        return "it must be indented `name: value` lines"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}"


def _owner(card: type[BaseModel], loc: Place) -> type[BaseModel]:
    """The settings that a place lies in, or those that it holds."""
    owner = card
    for name in loc:
        if isinstance(name, str) and name in owner.model_fields:
            annotation = owner.model_fields[name].annotation
            owner = next(_models(annotation, *get_args(annotation)), owner)
    return owner


def _models(*kinds: Any) -> Iterator[type[BaseModel]]:
    return (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def _names(owner: type[BaseModel]) -> list[str]:
    return [name for name in owner.model_fields if name != "prose"]


def _described(card: type[BaseModel], loc: Place) -> str:
    """A field's own docstring, to go on with after "give"."""
    text = (_owner(card, loc).model_fields[str(loc[-1])].description or "").rstrip(".")
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    if value in ([], {}, ""):
        return "empty"
    text = repr(value) if isinstance(value, str | list | dict) else str(value)
    return text if len(text) <= 70 else f"{text[:67]}..."
