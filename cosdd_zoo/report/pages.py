"""From facts to one HTML file: a template, its style inside, everything else escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import jinja2


class Picture(NamedTuple):
    drawn: str  # an <svg> or <img> element
    caption: str


def page(template: str, **values: Any) -> str:
    """The text of a page. template: a file of this folder; so is script, if one is among the values."""
    if "script" in values:
        values["script"] = _text(values["script"])
    return _templates().get_template(template).render(style=_text("style.css"), **values)


def image(url: str, alt: str) -> str:
    """An <img> of a data URL."""
    return str(jinja2.Template('<img src="{{ url }}" alt="{{ alt }}">', autoescape=True).render(url=url, alt=alt))


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_text), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
