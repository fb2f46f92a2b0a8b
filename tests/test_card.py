"""Model cards: what they must say, and what becomes of it in a package's README."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cosdd_zoo.cli import app
from cosdd_zoo.errors import ConfigError, OutputError
from cosdd_zoo.export.card import fill, read_card, with_figures

CARDS = Path(__file__).parents[1] / "model_cards"
CLI = CliRunner()
ANSWERS = {
    "<name of the model>": "Denoising of spinning-disk actin",
    "<what the model does and for which images>": "Removes noise from images of actin.",
    "<first and last name>": "Ada Lovelace",
    "<institute>": "Analytical Engines",
    "<GitHub account>": "octocat",
    "<SPDX identifier>": "CC-BY-4.0",
    "<what the training images show, how they were taken, where they are>": "Actin in fixed cells.",
}


def filled_template() -> str:
    text = (CARDS / "TEMPLATE.md").read_text()
    for question, answer in ANSWERS.items():
        text = text.replace(f": {question}", f": {answer}")
    return text


def card_with(tmp_path: Path, old: str, new: str) -> Path:
    text = filled_template()
    assert old in text
    path = tmp_path / "card.md"
    path.write_text(text.replace(old, new))
    return path


def test_the_template_is_a_card_once_its_fields_are_filled(tmp_path: Path) -> None:
    card = read_card(card_with(tmp_path, "", ""))
    assert card.authors[0].name == "Ada Lovelace"
    assert card.short_name == "denoising-of-spinning-disk-actin"


def test_the_template_explains_every_field_of_a_card() -> None:
    from cosdd_zoo.export.card import Author, Card, Citation, Maintainer, TrainingData

    text = (CARDS / "TEMPLATE.md").read_text()
    fields = {name for owner in (Card, Author, Citation, Maintainer, TrainingData) for name in owner.model_fields}
    assert not [name for name in fields - {"prose"} if not re.search(rf"\b{name}\b", text)]


def test_every_card_that_ships_can_be_used() -> None:
    cards = [path for path in CARDS.glob("*.md") if path.name != "TEMPLATE.md"]
    assert cards
    for path in cards:
        read_card(path)


def test_the_unfilled_template_says_what_to_fill_in() -> None:
    with pytest.raises(ConfigError, match=r"name of the model card TEMPLATE.md still says '<name of the model>'"):
        read_card(CARDS / "TEMPLATE.md")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("\nlicense:", "\nlicence:", r"There is no field 'licence': did you mean 'license'"),
        ("affiliation:", "afiliation:", r"There is no field 'authors.0.afiliation': did you mean 'affiliation'"),
        (
            "license: CC-BY-4.0",
            "license: CC-BY-4",
            r"'CC-BY-4' is no SPDX license identifier: did you mean 'CC-BY-4.0'",
        ),
        ("name: Denoising of spinning-disk actin", "name: Actin/2", r"name is 'Actin/2'.* 5 to 128 letters, digits"),
        ("description: Removes noise from images of actin.", "", r"description is missing: add it\."),
        ("    github_user: octocat", "", r"nobody has a github_user"),
        ("    url: https://arxiv.org/abs/2310.07887", "", r"has neither doi nor url: give one of them"),
        ("## Validation", "## Tests", r"the text has no `## Validation` heading"),
        ("tags: [", "tags: [[", r"are not YAML"),
    ],
)
def test_a_mistake_in_a_card_is_a_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_card(card_with(tmp_path, old, new))


def test_a_card_without_settings_is_told_apart_from_one_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_card(path)
    path.write_text("# My model\n")
    with pytest.raises(ConfigError, match=r"does not begin with settings between two lines `---`.*TEMPLATE"):
        read_card(path)
    path.write_text("---\nonly words\n---\n## Validation\n")
    with pytest.raises(ConfigError, match="not `key: value` lines"):
        read_card(path)


def test_measured_figures_are_put_in_their_places_and_listed_under_validation(tmp_path: Path) -> None:
    text = fill(read_card(card_with(tmp_path, "", "")), {"psnr_noisy_db": 20.123, "steps": "900"})
    assert "PSNR in dB: 20.12 before, not measured after" in text
    table = "| PSNR noisy (dB) | 20.12 |\n| steps | 900 |"
    assert text.index("## Validation") < text.index(table) < text.index("## Limits")
    assert "{{" not in text


def test_a_readme_without_figures_says_so(tmp_path: Path) -> None:
    text = fill(read_card(card_with(tmp_path, "", "")))
    assert "No figures were measured" in text


def test_the_readme_credits_and_cites(tmp_path: Path) -> None:
    text = fill(read_card(card_with(tmp_path, "", "")))
    assert "Ada Lovelace (Analytical Engines)" in text
    assert "https://arxiv.org/abs/2310.07887" in text
    assert "Actin in fixed cells." in text


def test_a_new_card_is_the_template_and_is_refused_until_it_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "actin.md"
    made = CLI.invoke(app, ["card", "new", str(path)])
    assert made.exit_code == 0
    assert path.read_text() == (CARDS / "TEMPLATE.md").read_text()
    assert "cosdd-zoo card check" in made.output
    assert isinstance(CLI.invoke(app, ["card", "new", str(path)]).exception, OutputError)
    assert isinstance(CLI.invoke(app, ["card", "check", str(path)]).exception, ConfigError)
    checked = CLI.invoke(app, ["card", "check", str(card_with(tmp_path, "", ""))])
    assert checked.exit_code == 0
    assert "psnr_denoised_db" in checked.output


def test_figures_are_written_into_a_card_once_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = card_with(tmp_path, "", "")
    first = with_figures(path, {"psnr_noisy_db": 20.1, "note": "a: b"})
    path.write_text(first)
    path.write_text(with_figures(path, {"psnr_noisy_db": 21.5}))
    found = read_card(path)
    assert found.figures == {"psnr_noisy_db": 21.5, "note": "a: b"}
    assert path.read_text().count("psnr_noisy_db: ") == 1
    kept = [line for line in filled_template().splitlines() if line not in path.read_text().splitlines()]
    assert not kept
    assert "21.5 before" in fill(found)
    assert "| PSNR noisy (dB) | 22 |" in fill(found, {"psnr_noisy_db": 22.0})


def test_a_readme_says_how_to_run_the_model_in_each_program(tmp_path: Path) -> None:
    text = fill(read_card(card_with(tmp_path, "", "")))
    for program in ("Fiji", "Icy", "ilastik", "QuPath", "bioimageio.core", "cosdd-zoo denoise"):
        assert program in text[text.index("## How to run") :]
