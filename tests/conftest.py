"""Fixtures that several files share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a small stand-in model, as `write_package` makes it. Not to be changed in place."""
    from exported import demo_card, noisy, stand_in

    from cosdd_zoo.export.package import write_package

    path = tmp_path_factory.mktemp("package") / "model.zip"
    write_package(stand_in(), path, demo_card(), noisy(1, 200, 180), [16, 16], config_text="preset: tiny\n")
    return path


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of the real tiny network with random weights, with the standard deviation as second channel."""
    from exported import demo_card, noisy, tiny

    from cosdd_zoo.export.package import write_package

    path = tmp_path_factory.mktemp("tiny") / "model.zip"
    write_package(tiny(uncertainty=True), path, demo_card(), noisy(1, 96, 96), [32, 32], uncertainty=True)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a short training on files, with a direct denoiser. Not to be changed in place."""
    import tifffile
    from models import QUICK, scene

    from cosdd_zoo import train

    folder = tmp_path_factory.mktemp("trained")
    tifffile.imwrite(folder / "stack.tif", scene(12, 64, 64), imagej=True, metadata={"axes": "TYX"})
    settings = {**QUICK, "direct": True, "max_steps": 60, "validate_every": 20}
    return train([folder / "stack.tif"], folder / "run", quiet=True, **settings).folder
