"""A package opened without trusting it: names, sizes and checksums are judged before a byte is used, nothing is
extracted to disk, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal, NamedTuple

import yaml

from cosdd_zoo.errors import PackageError

MAX_FILES = 1000
MAX_BYTES = 8 * 2**30  # the largest models of the zoo unpack to about 2 GB
MAX_TEXT_BYTES = 4 * 2**20
MAX_RATIO = 1000  # deflate reaches 1032 on zeros; a zip bomb lives there, a model does not
DESCRIPTION = "rdf.yaml"

WeightsKind = Literal["torchscript", "pickle", "unknown"]


class Archive(NamedTuple):
    """An open zip whose list of files has been found harmless."""

    path: Path
    zip: zipfile.ZipFile

    @property
    def names(self) -> list[str]:
        return [i.filename for i in self.zip.infolist() if not i.is_dir()]

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """The bytes of one file. Raises PackageError when it is not there, too large or damaged."""
        if name not in self.names:
            raise PackageError(
                f"{self.path.name} holds no {name}: it is no complete package. Export or download it again."
            )
        if self.zip.getinfo(name).file_size > limit:
            raise PackageError(f"{name} in {self.path.name} is larger than {limit:,} bytes: it is no sound package.")
        with _damage_named(self.path):
            return self.zip.read(name)

    def sha256(self, name: str) -> str:
        """The hexadecimal digest of one file."""
        digest = hashlib.sha256()
        with _damage_named(self.path), self.zip.open(name) as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    @property
    def description_name(self) -> str:
        """rdf.yaml, or what a foreign package calls it. Raises PackageError when there is none in the root."""
        for name in (DESCRIPTION, "bioimageio.yaml", "model.yaml"):
            if name in self.names:
                return name
        nested = [n for n in self.names if PurePosixPath(n).name == DESCRIPTION]
        hint = f" There is a {nested[0]}: zip the files, not their folder." if nested else ""
        raise PackageError(f"{self.path.name} holds no rdf.yaml, so it is no BioImage Model Zoo package.{hint}")

    def description(self) -> dict[str, Any]:
        """The model's description as plain values. Raises PackageError when it is not a YAML mapping."""
        name = self.description_name
        return parse_description(self.read(name, MAX_TEXT_BYTES), f"{name} in {self.path.name}")


@contextmanager
def open_archive(path: str | Path) -> Iterator[Archive]:
    """Opens a package. Raises PackageError when it is missing, no zip, damaged, encrypted, or holds names or sizes
    that are made to do harm.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise PackageError(f"{path} {what}: give the path of a package, a .zip file.")
    with _damage_named(path), zipfile.ZipFile(path) as file:
        for problem in _harm(file):
            raise PackageError(f"{path.name} was not opened: {problem}. Do not use this file.")
        yield Archive(path, file)


def parse_description(text: bytes, name: str) -> dict[str, Any]:
    """YAML to plain values; references within the document (`*alias`) are refused, as a few lines of them can
    unfold to gigabytes.
    """
    try:
        values = yaml.load(text, _NoAliases)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise PackageError(f"{name} cannot be read as YAML ({reason}): export or download the package again.") from None
    if not isinstance(values, dict):
        raise PackageError(
            f"{name} holds {type(values).__name__} instead of `key: value` lines: it describes no model."
        )
    return values


def kind_of_weights(weights: bytes) -> WeightsKind:
    """What a weights file is, judged by its form alone."""
    if weights.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(weights)) as file:
                names = {n.partition("/")[2] for n in file.namelist()}
                if any(_harm(file)):
                    return "unknown"
        except (zipfile.BadZipFile, OSError, ValueError):
            return "unknown"
        if "constants.pkl" in names and any(n.startswith("code/") for n in names):
            return "torchscript"
        return "pickle" if "data.pkl" in names else "unknown"
    # protocol 2 and later begin with this byte; older ones are text that ends with a full stop
    return "pickle" if weights[:1] == b"\x80" or weights[-1:] == b"." else "unknown"


def referenced_files(node: object, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each file that a description names, with the mapping it is named in (empty for a plain string)."""
    if isinstance(node, dict):
        if isinstance(node.get("source"), str):
            yield node["source"], node
        for k, child in node.items():
            yield from referenced_files(child, str(k))
    elif isinstance(node, list):
        for child in node:
            yield from referenced_files(child, key)
    elif isinstance(node, str) and key in ("documentation", "covers", "attachments"):
        yield node, {}


def _harm(file: zipfile.ZipFile) -> Iterator[str]:
    infos = file.infolist()
    if len(infos) > MAX_FILES:
        yield f"it holds {len(infos):,} files, and a package has about ten"
    if (total := sum(i.file_size for i in infos)) > MAX_BYTES:
        yield f"it would unpack to {total:,} bytes, more than {MAX_BYTES:,}"
    if len({i.filename for i in infos}) < len(infos):
        yield "two of its files have the same name"
    for info in infos:
        yield from _harm_of(info)


def _harm_of(info: zipfile.ZipInfo) -> Iterator[str]:
    name = info.orig_filename
    parts = PureWindowsPath(name).parts  # splits at / and \ alike
    if ".." in parts or PureWindowsPath(name).anchor or "\0" in name:
        yield f"{name!r} would be written outside of its folder"
    if stat.S_ISLNK(info.external_attr >> 16):
        yield f"{name!r} is a link to another place"
    if info.flag_bits & 1:
        yield f"{name!r} is encrypted, and packages are not"
    if info.file_size > max(info.compress_size, 2**10) * MAX_RATIO:
        yield f"{name!r} unpacks to {info.file_size:,} bytes from {info.compress_size:,}, as a zip bomb does"


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        raise PackageError(
            f"{path.name} is no zip file or a damaged one ({error}): export or download it again."
        ) from None
    except (zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise PackageError(f"{path.name} cannot be read to its end ({error}): export or download it again.") from None


class _NoAliases(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("one part refers to another by an alias (*)")
        return super().compose_node(parent, index)
