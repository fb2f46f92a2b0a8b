"""The house stays as it was laid out: imports go one way, and each idea has one short file."""

import ast
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosdd_zoo.authors.pickled import Inert, Reader

ROOT = Path(__file__).parents[1] / "cosdd_zoo"
MODULES = sorted(p for p in ROOT.rglob("*.py"))

FLOORS = [
    {"errors", "version", "presets"},
    {"config", "scaling"},
    {"devices", "networks", "data"},
    {"checkpoint"},
    {"training", "inference", "noise"},
    {"export", "report", "authors", "synthetic"},
    {"zoo"},
    {"api"},
    {"demo", "options"},
    {
        "card_commands",
        "denoise_command",
        "evaluate_command",
        "inspect_command",
        "report_command",
        "sample_command",
        "upload_command",
    },
    {"cli"},
    {"__main__", "__init__"},
]
"""A room may import from floors below its own, not from its neighbours."""
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide where they lead"
            names = [f"{node.module}.{a.name}" for a in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "cosdd_zoo" and len(parts) > 1:
                yield parts[1] if (ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").is_file() else "__init__"


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_go_one_way(path: Path) -> None:
    own = room_of(path)
    upwards = [room for room in imported_rooms(path) if room != own and FLOOR[room] >= FLOOR[own]]
    assert upwards == []


def test_every_room_has_its_floor() -> None:
    assert {room_of(p) for p in MODULES} <= set(FLOOR)


def test_one_file_alone_speaks_torchscript() -> None:
    def says_jit(path: Path) -> bool:
        tree = ast.walk(ast.parse(path.read_text()))
        return any(
            (isinstance(n, ast.Attribute) and n.attr == "jit")
            or (isinstance(n, ast.Import) and any(a.name.startswith("torch.jit") for a in n.names))
            or (isinstance(n, ast.ImportFrom) and (n.module or "").startswith("torch.jit"))
            for n in tree
        )

    assert [named(p) for p in MODULES if says_jit(p)] == ["export/torchscript.py"]


def test_nothing_is_unpickled() -> None:
    calls = {"torch.load", "pickle.load", "pickle.loads", "joblib.load"}
    for path in MODULES:
        found = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
        assert not calls & found, named(path)


def test_one_file_alone_knows_pickle_and_makes_every_name_in_one_inert() -> None:
    def imports_pickle(path: Path) -> bool:
        tree = ast.walk(ast.parse(path.read_text()))
        return any(isinstance(n, ast.Import) and any(a.name == "pickle" for a in n.names) for n in tree)

    assert [named(p) for p in MODULES if imports_pickle(p)] == ["authors/pickled.py"]
    reader = Reader(io.BytesIO())
    for module, name in (("os", "system"), ("builtins", "eval"), ("torch._utils", "_rebuild_tensor_v2")):
        assert issubclass(reader.find_class(module, name), Inert)


def test_no_room_is_for_leftovers() -> None:
    assert [
        named(p) for p in MODULES if p.stem.strip("_") in {"utils", "util", "helpers", "common", "misc", "manager"}
    ] == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    assert ast.get_docstring(ast.parse(text))
