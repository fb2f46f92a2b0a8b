"""Windows: how an image that is too large at once is cut, so that the pieces fit together without a seam.

    inner   the pixels that a window is responsible for: a partition of the image
    outer   inner and a halo of context around it, cut off at the image's edge

Outer windows begin on the grid of the model's coarsest level, so that a pixel meets the same downsampling and the same
latent noise in a window as in the whole image. Plain integer lists: the same code runs in Python and in TorchScript.
"""


def n_windows(size: list[int], inner: list[int]) -> int:
    """How many windows cover an image of this size."""
    n = 1
    for axis in range(len(size)):
        n *= (size[axis] + inner[axis] - 1) // inner[axis]
    return n


def window(index: int, size: list[int], inner: list[int], halo: list[int]) -> list[list[int]]:
    """One window, [inner start, inner stop, outer start, outer stop] of each axis, in px; the last axis fastest.

    inner and halo must be divisible by the model's stride along each axis.
    """
    bounds: list[list[int]] = []
    for back in range(len(size)):
        axis = len(size) - 1 - back
        n = (size[axis] + inner[axis] - 1) // inner[axis]
        start = (index % n) * inner[axis]
        stop = min(start + inner[axis], size[axis])
        index = index // n
        bounds.insert(0, [start, stop, max(start - halo[axis], 0), min(stop + halo[axis], size[axis])])
    return bounds


def round_up(length: int, step: int) -> int:
    """The smallest multiple of step that is not below length."""
    return (length + step - 1) // step * step
