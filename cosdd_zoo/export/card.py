"""Model cards: Markdown with YAML front matter, the only source of a package's words.

---
name: ...                      who, what, how to cite, under which licence
---
prose, with {{figure}} placeholders and a Validation section         becomes the package's README.md
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from cosdd_zoo.config import Settings
from cosdd_zoo.errors import ConfigError
from cosdd_zoo.export.card_errors import nearest, sentences, yaml_sentence

NAME_RULE = r"[A-Za-z0-9_+\- ()]{5,128}"
VALIDATION_HEADING = re.compile(r"^#{1,6} .*Validation.*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_FIGURES = re.compile(r"^figures:.*\n(?:[ \t]+.*\n|[ \t]*\n)*", re.MULTILINE)
_UNFILLED = re.compile(r"^<.*>$", re.DOTALL)
_INSTRUCTION = re.compile(r"(?!#)(?!.*\{\{).*\S")
_WORDS = {"psnr": "PSNR", "ssim": "SSIM", "db": "(dB)", "px": "(px)", "ms": "(ms)", "mb": "(MB)", "std": "(std)"}

HOW_TO_RUN = """## How to run

Give raw grey values: do not normalise before or after. `cosdd-zoo check` says what speaks against a program.

- Fiji, Icy (deepImageJ 3): Plugins > DeepImageJ > Install model manually, choose the zip, then DeepImageJ Run.
- ilastik 1.4.2 and later: Neural Network Classification, add images and zip, export without renormalising.
- QuPath 0.5 and later, 2-D models: unzip, then Extensions > Bioimage Model Zoo on the folder.
- Python: `bioimageio.core.predict(model="model.zip", inputs=...)` with axes batch, channel, (z,) y, x.
- `cosdd-zoo denoise model.zip images/ -o denoised` takes files of any size.
"""

NOISE_FOUND = """## Noise found

The autocorrelation of the noise that the model removes from the sample image, noisy minus denoised. It should lie along
the noise axis; what there is across it is signal that was removed, or noise that was not.

![Autocorrelation of the removed noise over lags along x and y]({picture})

"""

Figures = Mapping[str, float | str]
"""Measured figures by name, e.g. {"psnr_noisy_db": 20.1}; names are words joined by underscores, the unit last."""


class Author(Settings):
    name: str = Field(min_length=2, pattern=r"^[^/\\]+$")
    """A first and last name, two letters or more, without / and \\."""
    affiliation: str = ""
    """Institute or company."""
    orcid: str = Field("", pattern=r"^$|^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")
    """An ORCID iD, 0000-0000-0000-0000."""
    github_user: str = ""
    """GitHub account."""


class Maintainer(Settings):
    github_user: str = Field(min_length=1)
    """GitHub account, which the zoo asks for reviews."""
    name: str = ""
    """First and last name."""


class Citation(Settings):
    text: str = Field(min_length=3)
    """What is cited, in words."""
    doi: str = Field("", pattern=r"^$|^10\.\d{4,}\S+$")
    """A digital object identifier, 10.xxxx/... without https://doi.org/."""
    url: str = Field("", pattern=r"^$|^https?://\S+$")
    """A web address that begins with https:// or http://."""

    @model_validator(mode="after")
    def _can_be_found(self) -> Citation:
        if not (self.doi or self.url):
            raise ValueError(f"the citation {self.text!r} has neither doi nor url: give one of them")
        return self


class TrainingData(Settings):
    text: str = Field(min_length=3)
    """What the model was trained on: specimen, microscope, noise, where to get it."""
    id: str = ""
    """Identifier of the data set in the zoo, if it is there."""


class Card(Settings):
    """A model card; `prose` is the Markdown behind the front matter."""

    name: str = Field(pattern=f"^{NAME_RULE}$")
    """5 to 128 letters, digits, spaces and _ + - ( )."""
    description: str = Field(min_length=10, max_length=512)
    """One or two sentences: what the model does, for which images."""
    authors: tuple[Author, ...] = Field(min_length=1)
    """Who made the model."""
    maintainers: tuple[Maintainer, ...] = ()
    """Who answers questions about it; not needed when an author has a github_user."""
    cite: tuple[Citation, ...] = Field(min_length=1)
    """What users of the model should cite."""
    license: str
    """SPDX identifier, e.g. CC-BY-4.0 or MIT."""
    tags: tuple[str, ...] = Field(min_length=1)
    """Words that the zoo's search finds the model by."""
    training_data: TrainingData
    """What the model was trained on."""
    nickname: str = Field("", pattern=r"^$|^[a-z0-9][a-z0-9-]*$")
    """A short name in lower case with hyphens; by default made from the name."""
    figures: dict[str, float | str] = Field(default_factory=dict)
    """Measured figures by name; `cosdd-zoo card fill` writes them here."""
    prose: str = ""

    @field_validator("license")
    @classmethod
    def _is_spdx(cls, value: str) -> str:
        known = spdx_licenses()
        if value not in known:
            raise ValueError(f"{value!r} is no SPDX license identifier: {nearest(value, known)}")
        return value

    @field_validator("prose")
    @classmethod
    def _has_validation(cls, value: str) -> str:
        if not VALIDATION_HEADING.search(value):
            raise ValueError("the text has no `## Validation` heading: add one, with how the model was tested under it")
        return value

    @model_validator(mode="after")
    def _can_be_reached(self) -> Card:
        if not (self.maintainers or any(a.github_user for a in self.authors)):
            raise ValueError("nobody has a github_user: the zoo wants one, of an author or under maintainers")
        return self

    @property
    def short_name(self) -> str:
        """The nickname, or the name in lower case with hyphens."""
        return self.nickname or re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@cache
def spdx_licenses() -> tuple[str, ...]:
    """All SPDX license identifiers that are not deprecated."""
    from bioimageio.spec.generic.v0_3 import LicenseId

    return tuple(LicenseId.root_model.model_json_schema()["enum"])


@cache
def template() -> str:
    """The text of a card to be filled in."""
    return (files("cosdd_zoo") / "export" / "card_template.md").read_text(encoding="utf-8")


def read_card(path: str | Path) -> Card:
    """A card from its file. Raises ConfigError with a sentence for each thing that is missing or wrong."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"There is no model card {path}: begin one with `cosdd-zoo card new {path}`.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The model card {path} cannot be read ({error}): give a Markdown file.") from None
    values, prose = _split(text, path)
    _refuse_template(values, prose, path)
    try:
        return Card.model_validate({**_present(values), "prose": prose})
    except ValidationError as error:
        raise ConfigError(f"The model card {path.name} cannot be used. {sentences(error, Card)}") from None


def fill(card: Card, figures: Figures | None = None, noise_picture: str = "") -> str:
    """The package's README.md: the prose with figures in their places and as a table under Validation, the picture of
    the noise if there is one, and the front matter's facts as sentences. A placeholder without a figure becomes
    "not measured".
    """
    figures = {**card.figures, **(figures or {})}
    prose = _PLACEHOLDER.sub(lambda m: _number(figures[m[1]]) if m[1] in figures else "not measured", card.prose)
    heading = VALIDATION_HEADING.search(prose)
    at = heading.end() if heading else len(prose)
    body = f"{prose[:at]}\n\n{_table(figures)}\n\n{prose[at:].lstrip()}"
    noise = NOISE_FOUND.format(picture=noise_picture) if noise_picture else ""
    return f"# {card.name}\n\n{card.description}\n\n{body.strip()}\n\n{noise}{HOW_TO_RUN}\n{_facts(card)}"


def with_figures(path: str | Path, figures: Figures) -> str:
    """The text of a card with these figures among its settings; figures of other names stay. Raises ConfigError."""
    card, path = read_card(path), Path(path)
    block = yaml.safe_dump({"figures": {**card.figures, **figures}}, sort_keys=False, allow_unicode=True, width=120)
    _, settings, prose = re.split(r"^---[ \t]*$", path.read_text(encoding="utf-8"), maxsplit=2, flags=re.MULTILINE)
    settings = _FIGURES.sub("", settings).rstrip()
    return f"---{settings}\n\n{block}---{prose}"


def placeholders(card: Card) -> list[str]:
    """The figures that a card's prose names, in their order."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(card.prose)))


def missing_sections(card: Card) -> list[str]:
    """The template's sections, as Noise, that no heading of a card's prose names."""
    headings = "\n".join(re.findall(r"^#{1,6} .*$", card.prose, re.MULTILINE))
    sections = re.findall(r"^## (.+)$", _template_prose(), re.MULTILINE)
    return [name for name in sections if not re.search(rf"\b{name}\b", headings, re.IGNORECASE)]


def _split(text: str, path: Path) -> tuple[dict[str, Any], str]:
    parts = re.split(r"^---[ \t]*$", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) < 3 or parts[0].strip():
        raise ConfigError(
            f"The model card {path.name} does not begin with settings between two lines `---`: "
            f"begin a card with `cosdd-zoo card new`."
        )
    try:
        values = yaml.safe_load(parts[1])
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there is not
        reason = yaml_sentence(error, parts[1], parts[0].count("\n"))
        raise ConfigError(f"The settings of the model card {path.name} are not YAML. {reason}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"The settings of the model card {path.name} are not `key: value` lines: see the template.")
    return values, parts[2].strip() + "\n"


def _refuse_template(values: dict[str, Any], prose: str, path: Path) -> None:
    """What the template asks must be answered, and its instructions must not reach a package's README."""
    unfilled, kept = list(_unfilled(values)), _instructions_in(prose)
    told = []
    if unfilled:
        told.append(
            f"The model card {path.name} still asks for {', '.join(unfilled)}. "
            f"Fill all of them in, or take out what is optional."
        )
    if kept:
        first = textwrap.shorten(kept[0], 50, placeholder=" ...")
        told.append(
            f"The text of the model card {path.name} still holds {len(kept)} line{'s' if len(kept) > 1 else ''} of the "
            f"template's instructions, the first {first!r}. Write your own in their place."
        )
    if told:
        raise ConfigError(" ".join(told))


def _unfilled(values: object, place: str = "") -> Iterator[str]:
    if isinstance(values, str) and _UNFILLED.match(values):
        yield f"{place} {values}"
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, child in children:
        yield from _unfilled(child, f"{place}.{key}".removeprefix("."))


def _instructions_in(prose: str) -> list[str]:
    """The template's lines that are in a text, however it is wrapped; its headings and lines with figures may stay."""
    text = " ".join(prose.split())
    return [line for line in _template_prose().splitlines() if _INSTRUCTION.match(line) and line.strip() in text]


def _template_prose() -> str:
    return template().split("\n---\n", 1)[1]


def _present(values: Any) -> Any:
    """Settings without those that are empty."""
    if isinstance(values, dict):
        return {key: _present(value) for key, value in values.items() if value is not None}
    return [_present(value) for value in values] if isinstance(values, list) else values


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _label(name: str) -> str:
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))


def _table(figures: Figures) -> str:
    if not figures:
        return "No figures were measured when this package was made."
    rows = [f"| {_label(name)} | {_number(value)} |" for name, value in figures.items()]
    return "\n".join(["| measured | figure |", "|---|---|", *rows])


def _facts(card: Card) -> str:
    authors = ", ".join(f"{a.name} ({a.affiliation})" if a.affiliation else a.name for a in card.authors)
    cited = "\n".join(f"- {c.text} {f'https://doi.org/{c.doi}' if c.doi else c.url}" for c in card.cite)
    return (
        f"## Training data\n\n{card.training_data.text.strip()}\n\n"
        f"## Credits\n\nMade by {authors}. License: {card.license}. Please cite:\n\n{cited}\n"
    )
