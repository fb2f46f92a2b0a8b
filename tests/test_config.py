"""Settings: presets, files and flags in one schema that knows what was meant."""

import subprocess
import sys
from pathlib import Path

import pytest

from cosdd_zoo.config import (
    PRESETS,
    DataConfig,
    NetworkConfig,
    RunConfig,
    TrainingConfig,
    preset,
    read_yaml,
    resolve,
    section_of,
    to_yaml,
    validated,
)
from cosdd_zoo.errors import ConfigError


@pytest.mark.parametrize("name", PRESETS)
def test_yaml_reads_back_to_an_equal_config(tmp_path: Path, name: str) -> None:
    config = preset(name, seed=7, axes="TYX", max_time=2.5, noise_axis="none", downsample=(True, False))
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert validated(read_yaml(tmp_path / "config.yaml")) == config


def test_flags_win_over_the_file_and_the_file_over_the_preset() -> None:
    file = {"preset": "small", "training": {"batch_size": 2, "seed": 5}, "network": {"n_mixture": 7}}
    config = resolve(None, file, {"seed": 9})
    assert (config.preset, config.training.crop_px) == ("small", 256)  # of the preset
    assert (config.training.batch_size, config.network.n_mixture) == (2, 7)  # of the file
    assert config.training.seed == 9  # of the flag
    assert resolve("tiny", file, {}).preset == "tiny"
    assert resolve(None, None, {}) == preset("tiny")


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        preset("tiny").training.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("section", [NetworkConfig, TrainingConfig, DataConfig])
def test_every_setting_is_explained(section: type[NetworkConfig]) -> None:
    assert [name for name, field in section.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_a_setting_belongs_to_one_section() -> None:
    names = [n for s in (NetworkConfig, TrainingConfig, DataConfig) for n in s.model_fields]
    assert len(names) == len(set(names))
    assert {section_of(n) for n in names} == set(RunConfig.model_fields) - {"preset"}


def test_unknown_names_are_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"There is no preset 'smal'\. Did you mean 'small'\?"):
        preset("smal")
    with pytest.raises(ConfigError, match=r"There is no preset 'q'\. Known are base, large, small, tiny\."):
        preset("q")
    with pytest.raises(ConfigError, match=r"There is no setting 'batchsize'\. Did you mean 'batch_size'\?"):
        preset("tiny", batchsize=3)
    with pytest.raises(ConfigError, match=r"There is no section 'trainig'\. Did you mean 'training'\?"):
        resolve(None, {"trainig": {}}, {})
    with pytest.raises(ConfigError, match=r"There is no setting 'network.n_mixtures'\. Did you mean 'n_mixture'\?"):
        resolve(None, {"network": {"n_mixtures": 3}}, {})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batch_size": 0}, r"training.batch_size is 0: Input should be greater than or equal to 1\."),
        ({"noise_axis": "q"}, "network.noise_axis is 'q': Input should be 'x', 'y', 'z' or 'none'"),
        ({"noise_axis": "z"}, "noise_axis is z, but a 2-D model has the axes y, x: choose one of them or none"),
        ({"noise_axis": "y", "n_dims": 1}, "noise_axis is y, but a 1-D model has the axes x"),
        ({"downsample": ()}, "network.downsample is "),
        ({"validation_share": 1.5}, "training.validation_share is 1.5"),
    ],
)
def test_a_value_that_cannot_be_is_a_sentence(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        preset("tiny", **settings)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"training: [1", "cannot be read as YAML"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
        (b"- 1\n- 2\n", "holds list, not settings"),
        (b"", "holds NoneType, not settings"),
        (b"!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
        (b"training: 3", "training is 3: expected settings, one a line, indented below `training:`"),
        (b"preset: 3", "There is no preset 3"),
    ],
)
def test_a_file_that_holds_no_settings_is_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        resolve(None, read_yaml(tmp_path / "c.yaml"), {})


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read as YAML .*No such file"):
        read_yaml(tmp_path / "missing.yaml")


def test_axes_that_are_scarce_are_halved_less_often() -> None:
    config = preset("tiny", n_dims=3, downsample=(True,) * 4, n_downsample_z=2, noise_axis="x").network
    assert config.network_axes() == "zyx"
    assert config.level_strides() == [(2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)]
    assert config.total_stride() == (4, 16, 16)
    turned = preset("tiny", n_dims=3, downsample=(True,) * 4, n_downsample_z=2, noise_axis="z").network
    assert turned.network_axes() == "xyz"
    assert turned.total_stride() == (16, 16, 4)


@pytest.mark.parametrize("statement", ["import cosdd_zoo", "import cosdd_zoo.config, cosdd_zoo.errors, cosdd_zoo.cli"])
def test_importing_the_package_imports_no_torch(statement: str) -> None:
    heavy = "{'torch', 'lightning', 'bioimageio', 'tifffile', 'xarray', 'numpy'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "arguments"), [("export", '"nowhere", "model.zip", card="card.md"'), ("report", '"nowhere"')]
)
def test_a_room_can_be_called_whatever_was_imported_before(name: str, arguments: str) -> None:
    code = f"""
import cosdd_zoo
first = callable(cosdd_zoo.{name})
import cosdd_zoo.export.export, cosdd_zoo.report.reported
print(first, callable(cosdd_zoo.{name}))
try:
    cosdd_zoo.{name}({arguments})
except cosdd_zoo.errors.CosddError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.startswith("True True\nnowhere holds no model")


def test_the_names_of_the_api_are_there_at_first_use() -> None:
    import cosdd_zoo

    assert all(hasattr(cosdd_zoo, name) for name in cosdd_zoo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'denoize'"):
        cosdd_zoo.denoize  # noqa: B018
