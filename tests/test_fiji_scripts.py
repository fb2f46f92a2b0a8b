"""packaging/fiji in ImageJ 1 (Debian's imagej, groovy and xvfb), up to the call of deepImageJ.

That is not to be had here. In its place stands a plugin of its name, which writes down with what options it was called,
and a file for each image.
"""

import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

FIJI = Path(__file__).parents[1] / "packaging" / "fiji"
KEPT = Path(__file__).parent / "kept" / "direct-two-channels.zip"
JAVA = Path("/usr/share/java")
STAND_IN = """
import java.nio.file.*;
public class Stand_In implements ij.plugin.PlugIn {
    public void run(String argument) {
        try {
            String options = ij.Macro.getOptions();
            Files.write(Paths.get("options.txt"), options.getBytes());
            String from = ij.Macro.getValue(options, "input_path", "");
            String to = ij.Macro.getValue(options, "output_folder", "");
            for (String name : new java.io.File(from).list()) Files.createFile(Paths.get(to, "denoised_" + name));
        } catch (java.io.IOException error) { throw new RuntimeException(error); }
    }
}
"""
MISSING = [str(p) for p in (JAVA / "ij.jar", JAVA / "groovy-all.jar") if not p.exists()]
MISSING += [name for name in ("xvfb-run", "javac", "unzip") if not shutil.which(name)]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"ImageJ 1 cannot be started here: no {', '.join(MISSING)}")


@pytest.fixture
def imagej(tmp_path: Path) -> Path:
    """A folder with spaces in its name as ImageJ's own, with the plugin; two images in `noisy`."""
    home = tmp_path / "Image J"
    for folder in (home / "plugins", home / "noisy images"):
        folder.mkdir(parents=True)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(home / "noisy images" / name, np.zeros((70, 80), np.uint16))
    (home / "Stand_In.java").write_text(STAND_IN)
    subprocess.run(["javac", "-cp", str(JAVA / "ij.jar"), "Stand_In.java"], cwd=home, check=True)
    with zipfile.ZipFile(home / "plugins" / "Stand_In.jar", "w") as jar:
        jar.write(home / "Stand_In.class", "Stand_In.class")
        jar.writestr("plugins.config", 'Plugins, "DeepImageJ Run", Stand_In\n')
    return home


def java(home: Path, jars: list[str], *arguments: str) -> str:
    classes = ":".join(str(JAVA / jar) for jar in jars)
    command = ["xvfb-run", "-a", "java", f"-Dplugins.dir={home}", "-cp", classes, *arguments]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def run_macro(home: Path, package: Path) -> str:
    given = f"{package};{home / 'noisy images'};{home / 'results'}"
    return java(home, ["ij.jar"], "ij.ImageJ", "-batch", str(FIJI / "denoise_folder.ijm"), given)


def run_groovy(home: Path, package: Path) -> str:
    """As Fiji does it, which binds what the lines of #@ ask for before it runs the rest."""
    lines = (FIJI / "denoise_folder.groovy").read_text().splitlines()
    bound = [f"{name} = new File(args[{i}])" for i, name in enumerate(["zip", "input", "output"])]
    script = home / "bound.groovy"
    script.write_text("\n".join([*bound, *(line for line in lines if not line.startswith("#@")), "System.exit(0)"]))
    given = [str(package), str(home / "noisy images"), str(home / "results")]
    return java(home, ["ij.jar", "groovy-all.jar"], "groovy.ui.GroovyMain", str(script), *given)


RUNS = pytest.mark.parametrize("run", [run_macro, run_groovy])


@RUNS
def test_a_package_is_installed_and_deepimagej_is_given_the_folder(run, imagej: Path) -> None:  # type: ignore[no-untyped-def]
    said = run(imagej, KEPT)
    model = imagej / "models" / KEPT.stem
    with zipfile.ZipFile(KEPT) as package:
        assert {p.name: p.read_bytes() for p in model.iterdir()} == {n: package.read(n) for n in package.namelist()}
    options = (imagej / "options.txt").read_text()
    for name, path in {
        "model_path": model,
        "input_path": imagej / "noisy images",
        "output_folder": imagej / "results",
    }.items():
        assert f"{name}=[{path}]" in options, said
    assert {p.name for p in (imagej / "results").iterdir()} == {"denoised_a.tif", "denoised_b.tif"}
    assert "2 files" in said


@RUNS
def test_what_is_no_package_is_not_installed(run, imagej: Path) -> None:  # type: ignore[no-untyped-def]
    with zipfile.ZipFile(imagej / "other.zip", "w") as other:
        other.writestr("readme.txt", "nothing")
    said = run(imagej, imagej / "other.zip")
    assert not (imagej / "options.txt").exists(), said
    assert not (imagej / "models" / "other" / "rdf.yaml").exists()
