"""The names that xarray's users give to axes, in letters of ours."""

from __future__ import annotations

from cosdd_zoo.errors import AxesError

_KNOWN_DIMS = {
    "S": "s b batch sample samples scene position index i n",
    "T": "t time frame frames",
    "C": "c channel channels band",
    "Z": "z depth slice slices plane",
    "Y": "y row rows height",
    "X": "x col cols column columns width",
}
_LETTER_OF_DIM = {dim: letter for letter, dims in _KNOWN_DIMS.items() for dim in dims.split()}


def axes_of_dims(dims: tuple[str, ...], shape: tuple[int, ...], name: str = "The DataArray") -> str:
    """Letters of STCZYX, one for each dim. Raises AxesError for dims that do not name axes, or one twice."""
    letters = [_LETTER_OF_DIM.get(dim.lower(), "") for dim in dims]
    if not all(letters) or len(set(letters)) < len(letters):
        raise AxesError(
            f"{name} has dims {dims} and shape {shape}, which do not name its axes. "
            "Rename them to batch, time, channel, z, y, x, or pass axes=, for example axes='SYX'."
        )
    return "".join(letters)
