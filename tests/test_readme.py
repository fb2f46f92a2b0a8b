"""README says what is so: its commands parse, its Python uses names that exist, its paths lead somewhere."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import cosdd_zoo
from cosdd_zoo.cli import app
from cosdd_zoo.data.simulate import NOISES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("benchmarks", "cosdd_zoo", "docs", "model_cards", "packaging", "tests")
"""Top folders of the repository: a path that begins with one must exist; others are what commands make."""
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
"""Those of `card` by both words."""
COMMANDS |= {f"card {name}": command for name, command in COMMANDS.pop("card").commands.items()}

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHELL = [line.strip() for kind, text in BLOCKS if kind == "sh" for line in text.replace("\\\n", " ").splitlines()]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
SPANS = re.findall(r"`([^`\n]+)`", PROSE)


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def flags_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def commands_in(lines: list[str]) -> list[list[str]]:
    """Sub-command and its arguments of every `cosdd-zoo SUB-COMMAND ...`."""
    split = [words(line) for line in lines if line.startswith("cosdd-zoo ")]
    joined = [[" ".join(a[1:3]), *a[3:]] if a[1] == "card" else a[1:] for a in split]
    return [arguments for arguments in joined if arguments[0] != "--help"]


@pytest.mark.parametrize("arguments", commands_in(SHELL), ids=" ".join)
def test_every_command_in_a_code_block_parses(arguments: list[str]) -> None:
    name, *rest = arguments
    with COMMANDS[name].make_context(name, list(rest)) as context:
        assert not context.args


@pytest.mark.parametrize("arguments", commands_in(SPANS), ids=" ".join)
def test_every_command_in_the_text_exists_with_its_flags(arguments: list[str]) -> None:
    name, *rest = arguments
    assert {word for word in rest if word.startswith("-")} <= flags_of(COMMANDS[name])


@pytest.mark.parametrize("flag", sorted({span.split()[0] for span in SPANS if span.startswith("--")}))
def test_every_flag_in_the_text_belongs_to_a_command(flag: str) -> None:
    assert any(flag in flags_of(command) for command in COMMANDS.values())


def test_every_sub_command_is_shown() -> None:
    named = {arguments[0] for arguments in commands_in(SHELL + SPANS)} | {"demo"}  # by way of make
    assert named == set(COMMANDS)


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words(line)[1] for line in SHELL + SPANS if line.startswith("make ")}
    assert named and named <= targets


@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_every_python_block_compiles_and_uses_public_names(block: str) -> None:
    tree = ast.parse(block)
    compile(tree, "README.md", "exec")
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cosdd_zoo"
    }
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    used |= {name.name for node in imported if node.module == "cosdd_zoo" for name in node.names}
    assert used <= set(cosdd_zoo.__all__)


def test_every_name_in_the_text_is_public() -> None:
    named = {name for span in SPANS for name in re.findall(r"\bcosdd_zoo\.(\w+)\(", span)}
    assert "open_images" in named and all(callable(getattr(cosdd_zoo, name)) for name in named)


def named_paths() -> list[str]:
    links = [target for target in re.findall(r"\]\(([^)]+)\)", PROSE) if "://" not in target]
    in_python = [
        node.value for block in PYTHON for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Constant)
    ]
    loose = [word for line in SHELL + SPANS for word in line.split()] + [w for w in in_python if isinstance(w, str)]
    return sorted({*links, *(word for word in loose if word.startswith(tuple(f"{room}/" for room in ROOMS)))})


def headings(markdown: Path) -> set[str]:
    """The anchors that a Markdown file's headings have on GitHub."""
    titles = re.findall(r"^#+ +(.+)$", markdown.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("target", named_paths())
def test_every_path_that_is_named_exists(target: str) -> None:
    path, _, anchor = target.partition("#")
    assert (ROOT / path).exists(), f"README.md names {path}, which is not in the repository"
    if anchor:
        assert anchor in headings(ROOT / (path or "README.md")), (
            f"README.md names {target}, and {path} has no such heading"
        )


def test_every_simulated_noise_is_shown_with_its_noise_axis() -> None:
    table = README[README.index("| `--noise` |") :].partition("\n\n")[0]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert {name: axis for name, _, axis, *_ in rows} == {kind: noise.axis for kind, noise in NOISES.items()}


@pytest.mark.parametrize("page", ["README.md", "benchmarks/results/README.md"])
def test_every_figure_is_filled_in(page: str) -> None:
    assert re.findall(r"\{\{\w+\}\}", (ROOT / page).read_text(encoding="utf-8")) == []


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == cosdd_zoo.__version__
