"""What a description must say so that the BioImage Model Zoo takes the package: its words, people and pictures."""

from __future__ import annotations

import io
import re

from PIL import Image, UnidentifiedImageError

from cosdd_zoo.export.archive import MAX_TEXT_BYTES
from cosdd_zoo.export.card import NAME_RULE, VALIDATION_HEADING, spdx_licenses
from cosdd_zoo.export.judged import Package, Problems, Rule, Unknown, as_list

COVER_BYTES = 500_000


def tolerance_is_stated(p: Package) -> Problems:
    if not as_list(p.get("config", "bioimageio", "reproducibility_tolerance")):
        yield "config.bioimageio has no reproducibility_tolerance: state by how much other machines may differ"


def the_zoo_gives_the_id(p: Package) -> Problems:
    if "id" in p.rdf:
        yield f"it has the id {p.get('id')}; the zoo gives one at the upload: leave it out"


def name_is_allowed(p: Package) -> Problems:
    name = str(p.get("name") or "")
    if not re.fullmatch(NAME_RULE, name):
        yield f"{name!r} is not made of 5 to 128 letters, digits, spaces and _ + - ( ): rename it"


def people_can_be_reached(p: Package) -> Problems:
    people = [q for q in as_list(p.get("authors")) + as_list(p.get("maintainers")) if isinstance(q, dict)]
    if not as_list(p.get("authors")):
        yield "there are no authors: name them"
    if not any(q.get("github_user") for q in people):
        yield "neither an author nor a maintainer has a github_user: add one, whom the zoo asks for reviews"


def citations_can_be_found(p: Package) -> Problems:
    cite = [c for c in as_list(p.get("cite")) if isinstance(c, dict)]
    if not cite or not all(c.get("doi") or c.get("url") for c in cite):
        yield "it must cite at least one text, each with doi or url"


def license_is_spdx(p: Package) -> Problems:
    if p.get("license") not in spdx_licenses():
        yield f"{p.get('license') or 'none'} is no SPDX identifier: see https://spdx.org/licenses"


def tags_are_there(p: Package) -> Problems:
    if not as_list(p.get("tags")):
        yield "there are none, so the zoo's search will not find the model: add some"


def samples_are_there(p: Package) -> Problems:
    for side in ("inputs", "outputs"):
        if not isinstance(p.get(side, 0, "sample_tensor", "source"), str):
            yield Unknown(f"{side} have no sample_tensor, an image that people can open; reviewers may ask for one")


def cover_fits(p: Package) -> Problems:
    if not as_list(p.get("covers")):
        yield "there are none: add a picture of 2:1 or 1:1, under 500 KB"
    for name in as_list(p.get("covers")):
        if isinstance(name, str) and name in p.archive.names:
            yield from _cover_problems(name, p.archive.read(name))


def readme_has_validation(p: Package) -> Problems:
    stated = p.get("documentation")
    name = stated.get("source") if isinstance(stated, dict) else stated
    if not isinstance(name, str) or name not in p.archive.names:
        yield "there is no README.md: describe the model in one"
    elif not VALIDATION_HEADING.search(p.archive.read(name, MAX_TEXT_BYTES).decode(errors="replace")):
        yield f"{name} has no heading with Validation: add one, and under it how the model was tested"


ZOO_RULES: dict[str, Rule] = {
    "tolerance": Rule(tolerance_is_stated, ("zoo",)),
    "no id yet": Rule(the_zoo_gives_the_id, ("zoo",)),
    "name": Rule(name_is_allowed, ("core", "zoo"), reads_0_5=False),
    "authors and maintainers": Rule(people_can_be_reached, ("zoo",), reads_0_5=False),
    "citations": Rule(citations_can_be_found, ("zoo",), reads_0_5=False),
    "license": Rule(license_is_spdx, ("zoo",), reads_0_5=False),
    "tags": Rule(tags_are_there, ("zoo",), reads_0_5=False),
    "samples": Rule(samples_are_there, ("zoo",)),
    "cover": Rule(cover_fits, ("zoo",), reads_0_5=False),
    "README": Rule(readme_has_validation, ("zoo",), reads_0_5=False),
}


def _cover_problems(name: str, data: bytes) -> Problems:
    if len(data) > COVER_BYTES:
        yield f"{name} has {len(data):,} bytes; the zoo takes up to {COVER_BYTES:,}: make it smaller"
    try:
        width, height = Image.open(io.BytesIO(data)).size  # reads the header alone
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        yield f"{name} is no picture: give a PNG, JPEG or GIF"
        return
    if width not in (height, 2 * height):
        yield f"{name} is {width} x {height} px; expected a ratio of 2:1 or 1:1: cut it"
