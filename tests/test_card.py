"""Model cards: what they must say, and what becomes of it in a package's README."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cosdd_zoo.cli import app
from cosdd_zoo.errors import ConfigError, OutputError
from cosdd_zoo.export.card import fill, placeholders, read_card, with_figures

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


OWN_WORDS = "Fixed cells, one microscope."
SECTIONS = ["Intended use", "Noise", "Validation", "Limits"]


def answered() -> str:
    """The template with its settings filled in and its text as it was."""
    text = (CARDS / "TEMPLATE.md").read_text()
    for question, answer in ANSWERS.items():
        text = text.replace(f": {question}", f": {answer}")
    return text


def is_instruction(line: str) -> bool:
    return bool(line) and not line.startswith("#") and "{{" not in line


def filled_template() -> str:
    """The template with its settings filled in, and each line of its instructions replaced."""
    settings, prose = answered().split("\n---\n")
    lines = [OWN_WORDS if is_instruction(line) else line for line in prose.splitlines()]
    return "\n".join([settings, "---", *lines]) + "\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "card.md"
    path.write_text(text)
    return path


def card_with(tmp_path: Path, old: str, new: str) -> Path:
    text = filled_template()
    assert old in text
    return written(tmp_path, text.replace(old, new))


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_card(path)
    return str(caught.value)


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


def test_every_card_that_ships_has_the_sections_of_the_template_in_its_order() -> None:
    for path in CARDS.glob("*.md"):
        assert re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE) == SECTIONS, path.name


def test_the_cards_of_the_demo_name_only_figures_that_an_export_in_the_demo_has() -> None:
    from cosdd_zoo.demo import Figures
    from cosdd_zoo.export.evaluation import noise_figures

    x = np.random.default_rng(0).normal(size=(1, 32, 32))
    measured = {*Figures._fields, *noise_figures([x], [np.zeros_like(x)])}
    for path in CARDS.glob("demo-*.md"):
        named = placeholders(read_card(path))
        assert "noise_std_in_grey_values" in named
        assert set(named) <= measured


def test_the_unfilled_template_says_all_that_is_to_be_filled_in() -> None:
    told = refusal(CARDS / "TEMPLATE.md")
    assert told.startswith("The model card TEMPLATE.md still asks for name <name of the model>, description <what")
    for place in (
        "authors.0.affiliation <institute>",
        "authors.0.github_user <GitHub account>",
        "training_data.text <",
    ):
        assert place in told
    assert f"{len([line for line in answered().split('---')[2].splitlines() if is_instruction(line)])} lines" in told


def test_text_that_is_still_the_templates_is_refused(tmp_path: Path) -> None:
    told = refusal(written(tmp_path, answered()))
    assert re.search(r"The text of the model card card.md still holds \d+ lines .*the first 'Write here, in Mark", told)
    assert told.endswith("Write your own in their place.")


def test_one_line_of_the_template_is_found_when_it_was_wrapped_anew(tmp_path: Path) -> None:
    [line] = [line for line in answered().splitlines() if line.startswith("What it may get wrong")]
    path = written(tmp_path, filled_template() + line.replace(" that it removes", "\nthat it removes") + "\n")
    assert "still holds 1 line of the template's instructions, the first 'What it may get wrong" in refusal(path)


def test_the_templates_own_sentences_with_figures_may_stay(tmp_path: Path) -> None:
    text = filled_template()
    read_card(written(tmp_path, text))
    figures = [line for line in answered().splitlines() if "{{" in line]
    assert figures
    assert all(line in text for line in figures)


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
        ("tags: [", "tags: denoising # [", r"tags is 'denoising': it must be a list, e\.g\. \[denoising\]\."),
        ("tags: [", "tags: [] # [", r"tags is empty: give at least 1\."),
        ("tags: [", "tags: [3, ", r"tags\.0 is 3: it must be text: put it in quotes\."),
        (
            "name: Denoising of spinning-disk actin",
            "name: 12345",
            r"name is 12345: it must be text: put it in quotes\.",
        ),
        ("description: Removes noise from images of actin.", "description: Denoises", r"'Denoises': .* at least 10 "),
        ("name: Ada Lovelace", "name: [Ada]", r"authors\.0\.name is \['Ada'\]: it must be one text, not a list\."),
        ("name: Ada Lovelace", "name: A/B", r"authors\.0\.name is 'A/B': give a first and last name, .* without / "),
        ("name: Ada Lovelace", "name: A", r"authors\.0\.name is 'A': it must have at least 2 characters\."),
        ("affiliation:", "orcid: 12-34 #", r"authors\.0\.orcid is '12-34': give an ORCID iD, 0000-0000-0000-0000\."),
        ("url: https:", "doi: https:", r"cite\.0\.doi is 'https:.*': give a digital object identifier, 10\.xxxx"),
        ("url: https://", "url: ", r"cite\.0\.url is 'arxiv.*': give a web address that begins with https://"),
        ("# nickname: <short-name>", "nickname: My actin", r"nickname is 'My actin': give a short name in lower case"),
        (
            "  text: Actin in fixed cells.",
            "  Actin",
            r"training_data is 'Actin': .* `key: value` lines, e\.g\. `text: ",
        ),
        (
            "  - name: Ada",
            "    name: Ada",
            r"authors is .*: it must be a list whose entries begin with `- name: `",
        ),
        (
            "\n---\n",
            "\nfigures:\n  psnr_db: [1]\n---\n",
            r"used\. figures\.psnr_db is \[1\]: it must be a number or text\.$",
        ),
        ("\n---\n", "\n1: x\n---\n", r"There is no field '1'"),
    ],
)
def test_a_mistake_in_a_card_is_a_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    told = refusal(card_with(tmp_path, old, new))
    assert re.search(sentence, told, re.DOTALL), told
    assert not re.search("(?i)tuple|valid string|pattern|dictionary|instance of", told)


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("    affiliation: Analytical Engines", "    affiliation:"),
        ("# nickname: <short-name>", "nickname:"),
        ("# maintainers:", "maintainers:"),
        ("\n---\n", "\nfigures:\n---\n"),
    ],
)
def test_an_optional_field_that_is_empty_counts_as_absent(tmp_path: Path, setting: str, found: str) -> None:
    card = read_card(card_with(tmp_path, setting, found))
    assert "" in (card.authors[0].affiliation, card.nickname)


def test_a_needed_field_that_is_empty_is_missing(tmp_path: Path) -> None:
    assert "used. license is missing: add it." in refusal(card_with(tmp_path, "license: CC-BY-4.0", "license:"))
    assert "used. tags.0 is empty: fill it in or take it out." in refusal(card_with(tmp_path, "tags: [", "tags: [~, "))


def test_a_mistake_inside_of_an_entry_is_told_once(tmp_path: Path) -> None:
    told = refusal(card_with(tmp_path, "name: Ada Lovelace", "name: 7"))
    assert told == "The model card card.md cannot be used. authors.0.name is 7: it must be text: put it in quotes."


@pytest.mark.parametrize("above", ["", "\n\n"])
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name: Denoising", "name: Denoising: of", "mapping values are not allowed here"),
        ("license: CC", "license: \x07", "unacceptable character"),
        ("license: CC", "\tlicense: CC", "found character '\\t' that cannot start any token"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_line_in_the_file(
    tmp_path: Path, above: str, old: str, new: str, reason: str
) -> None:
    text = above + filled_template()
    path = written(tmp_path, text.replace(old, new, 1))
    line = 1 + text[: text.index(old)].count("\n")
    told = refusal(path)
    assert f"The settings of the model card card.md are not YAML. Line {line}: " in told
    assert reason in told
    assert "unicode string" not in told


def test_a_list_that_is_not_closed_is_told_with_the_line_that_it_begins_in(tmp_path: Path) -> None:
    text = filled_template().replace("tags: [", "tags: [[")
    begin, end = (1 + text[: text.index(f"\n{key}")].count("\n") + 1 for key in ("tags", "training_data"))
    told = refusal(written(tmp_path, text))
    assert f"Line {end}: " in told
    assert f"while parsing a flow sequence that begins in line {begin}" in told


def test_a_date_that_there_is_not_is_no_traceback(tmp_path: Path) -> None:
    told = refusal(card_with(tmp_path, "name: Denoising of spinning-disk actin", "name: 2024-13-45"))
    assert (
        "are not YAML. A date in them does not exist (month must be in 1..12): put it in quotes if it is text." in told
    )


def test_a_card_that_is_missing_can_be_begun(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    assert refusal(path) == f"There is no model card {path}: begin one with `cosdd-zoo card new {path}`."
    assert "cannot be read" in refusal(tmp_path)


def test_a_file_without_settings_is_no_card(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text("# My model\n")
    with pytest.raises(ConfigError, match=r"does not begin with settings between two lines `---`.*cosdd-zoo card new"):
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
    assert "psnr_denoised_db" in checked.stderr


def test_a_check_says_who_and_what_the_card_names(tmp_path: Path) -> None:
    done = CLI.invoke(app, ["card", "check", str(card_with(tmp_path, "", ""))])
    for line in ("name: Denoising of spinning-disk actin", "license: CC-BY-4.0", "named: Ada Lovelace"):
        assert line in done.stdout
    assert "sections" not in done.stderr


def test_a_check_warns_of_the_templates_sections_that_a_card_lacks(tmp_path: Path) -> None:
    text = filled_template().replace("## Noise", "## What we saw").replace("## Limits", "### Other limits")
    done = CLI.invoke(app, ["card", "check", str(written(tmp_path, text))])
    assert done.exit_code == 0
    assert "The text lacks the sections: Noise." in done.stderr
    assert "Noise." not in done.stdout


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
