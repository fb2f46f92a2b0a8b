"""What all sides are run on: noisy frames, and a truth that only the scores see.

Simulated stacks are drawn by the package (data.simulate states their formulas). Real sets are read from a folder that
is given by path: folders of TIFFs, two levels, a truth beside each noisy file.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from cosdd_zoo.data.metrics import affine_fit
from cosdd_zoo.data.simulate import NOISES, confocal_stack, photon_stack
from cosdd_zoo.data.simulate.noises import PEDESTAL

N_SCORED = 4
"""Frames that are denoised and scored; every side trains on all of them."""


class Dataset(NamedTuple):
    name: str
    noisy: NDArray[np.generic]  # [S, Y, X]
    truth: NDArray[np.float64]  # [scored, Y, X], on the scale of noisy's first frames
    noise_axis: str
    second: NDArray[np.generic] | None  # [S, Y, X], other noise on the same signal, where there is such
    clean: NDArray[np.generic] | None  # [S - scored, Y, X], the truth of the frames that are not scored, where known


class RealSet(NamedTuple):
    file: str  # its stem
    truth: str
    noise_axis: str = "x"
    shots: bool = False  # whether its frames show one field


REAL = {
    "actin": RealSet("actin_low", "actin_gt"),
    "fmd-confocal": RealSet("Confocal_MICE_raw", "Confocal_MICE_gt", "none", shots=True),
    "fmd-confocal-fish": RealSet("Confocal_FISH_raw", "Confocal_FISH_gt", "none", shots=True),
    "fmd-two-photon": RealSet("TwoPhoton_MICE_raw", "TwoPhoton_MICE_gt", "none", shots=True),
    "bpae1": RealSet("bpae1_noisy", "bpae1_avg5"),
    "kidney2": RealSet("kidney2_noisy", "kidney2_avg5"),
    "sem": RealSet("sfr_lrsem_noisy_TRANSPOSED", "sfr_lrsem_gt_TRANSPOSED"),
    "stem": RealSet("sfr_hrstem_noisy_TRANSPOSED", "sfr_hrstem_gt_TRANSPOSED"),
    "w2s": RealSet("w2s_c0_noisy_fov001_020", "w2s_c0_gt_fov001_020", "none"),
}
NAMES = [*NOISES, *REAL]


def dataset(name: str, folder: Path | None = None, seed: int = 0) -> Dataset:
    """One of NAMES. folder: of the real ones. Raises FileNotFoundError when it does not hold them."""
    return simulated(name, seed) if name in NOISES else real(name, folder or Path())


def simulated(name: str, seed: int) -> Dataset:
    """24 frames of 256 x 256 px of filaments and cells, the demo's; exposed twice."""
    noise = NOISES[name]()
    signal = confocal_stack(seed=seed).signal.astype(np.float64)
    photons = (signal - PEDESTAL) / noise.gain
    first, second = (photon_stack(noise, photons, seed=1000 * seed + k) for k in (1, 2))
    scored, others = first.signal[:N_SCORED].astype(np.float64), first.signal[N_SCORED:]
    return Dataset(name, first.noisy, scored, noise.axis, second.noisy, others)


def real(name: str, folder: Path) -> Dataset:
    """The noisy file, and its truth brought to each noisy frame's scale by least squares."""
    kind = REAL[name]
    noisy, truth = (frames(folder, stem) for stem in (kind.file, kind.truth))
    fitted = np.stack([affine_fit(s, x) for s, x in zip(np.broadcast_to(truth, noisy.shape), noisy, strict=True)])
    second = np.roll(noisy, 1, axis=0) if kind.shots else None
    others = fitted[N_SCORED:] if len(truth) == len(noisy) > N_SCORED else None
    return Dataset(name, noisy, fitted[:N_SCORED], kind.noise_axis, second, others)


def frames(folder: Path, stem: str) -> NDArray[np.generic]:
    """[S, Y, X] of the file of that name anywhere one level down."""
    found = sorted(folder.glob(f"*/{stem}.tif"))
    if not found:
        raise FileNotFoundError(f"{folder} holds no */{stem}.tif: give the folder of the real sets with --real.")
    image = tifffile.imread(found[0])
    return np.asarray(image.reshape(-1, *image.shape[-2:]))
