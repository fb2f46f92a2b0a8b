"""A file of torch.save, read without executing anything that is in it.

It is a zip: data.pkl says what there is, data/0, data/1 .. hold the numbers of its tensors. A pickle is a program: it
names functions of any module, and calls them. Here every name stands for a class that does nothing (`Inert`), so that
the program runs to its end and what it would have called is only written down. The tensors of the state_dict are then
put together by us; the rest, optimisers and all, is never read.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from cosdd_zoo.errors import CheckpointError

DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
}
REBUILD = "torch._utils._rebuild_tensor_v2"
DAMAGE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile)
"""What zipfile raises of a damaged list of files: names that are no text, encryption, versions that do not exist."""


class Saved(NamedTuple):
    weights: dict[str, Tensor]  # the state_dict
    epoch: int | None  # of the training that wrote it


class Inert:
    """What a name in a pickle stands for, and what a call of it gives: it keeps the arguments and does nothing."""

    name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        made = object.__new__(cls)
        made.args = args
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __call__(self, *args: Any, **kwargs: Any) -> Inert:
        return Inert(*args)

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    append = add = extend


class Reader(pickle.Unpickler):
    """Runs a pickle in which every name is inert; dictionaries are all that it can make besides plain values."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return type("Inert", (Inert,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        return pid


def refuse_strange_steps(data: bytes) -> None:
    """Raises UnpicklingError for steps of a pickle that torch.save does not write.

    Numbers of a registry that this process may have filled would stand for its objects, and a place in the memo far
    beyond all that can be remembered would take memory without end.
    """
    for step, argument, _ in pickletools.genops(data):
        is_far = step.name in ("PUT", "LONG_BINPUT") and int(str(argument)) > len(data)
        if step.proto > 2 or step.name.startswith("EXT") or is_far:
            raise pickle.UnpicklingError(f"torch.save writes no {step.name} {argument}")


class _Archive:
    """The files in the zip, which torch.save puts into one folder and does not compress."""

    def __init__(self, file: zipfile.ZipFile, path: Path) -> None:
        self.file, self.path = file, path
        roots = [n.removesuffix("data.pkl") for n in file.namelist() if n.endswith("/data.pkl")]
        # what is compressed could unpack to more than there is memory for
        is_plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in file.infolist())
        if len(roots) != 1 or not is_plain or self._is_big_endian(roots[0]):
            _refuse(path, "it is a zip, but not as torch.save writes it on today's computers")
        self.root = roots[0]

    def _is_big_endian(self, root: str) -> bool:
        name = f"{root}byteorder"
        return name in self.file.namelist() and self.file.read(name) != b"little"

    def program(self) -> Any:
        """What data.pkl makes: plain values, dictionaries and inert objects."""
        data = self.file.read(f"{self.root}data.pkl")
        try:
            refuse_strange_steps(data)
            return Reader(BytesIO(data)).load()
        except Exception as error:  # whatever a damaged or foreign pickle makes the reader raise, it is not read
            _refuse(self.path, f"its data.pkl is damaged: {error}")

    def tensor(self, name: str, value: Any) -> Tensor:
        """The tensor that a call of torch's rebuilding function stands for."""
        try:
            if value.name != REBUILD:
                raise TypeError(value.name)
            (_, kind, key, _, _), offset, size, stride = value.args[:4]
            data = bytearray(self.file.read(f"{self.root}data/{key}"))
            numbers = torch.frombuffer(data, dtype=DTYPES[kind.name])
            if math.prod(size) > len(numbers):  # a stride of 0 repeats numbers without end
                raise ValueError(size)
            return numbers.as_strided(size, stride, offset)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
            _refuse(self.path, f"{name} in its state_dict is no plain tensor")


def read_saved(path: Path) -> Saved:
    """The state_dict of a checkpoint. Raises CheckpointError when it is missing, damaged or something else."""
    try:
        with zipfile.ZipFile(path) as file:
            archive = _Archive(file, path)
            content = archive.program()
            if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
                _refuse(path, "it holds no state_dict")
            weights = {str(name): archive.tensor(name, value) for name, value in content["state_dict"].items()}
    except DAMAGE as error:
        _refuse(path, str(error))
    epoch = content.get("epoch")
    return Saved(weights, epoch if isinstance(epoch, int) else None)


def _refuse(path: Path, reason: str) -> NoReturn:
    raise CheckpointError(
        f"{path} cannot be read ({reason}): expected final_model.ckpt, which the authors' training.py writes, whole."
    ) from None
