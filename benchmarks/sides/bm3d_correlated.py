"""BM3D for correlated noise (Mäkinen, Azzari, Foi 2020; PyPI bm3d, non-commercial), its noise estimated blindly."""

from __future__ import annotations

import bm3d
import numpy as np

from sides.interface import Clock, Job, Results, untrained
from sides.noise_level import correlation, power_spectrum, stabiliser

if not hasattr(np, "trapz"):
    np.trapz = np.trapezoid  # bm4d 4.2.5 asks for the name that NumPy 2.4 dropped; this process is its own


def denoise(job: Job) -> Results:
    clock = Clock()
    turned = job.noisy.swapaxes(-1, -2) if job.noise_axis == "y" else job.noisy
    x = np.asarray(turned, np.float64)
    root = stabiliser(x)
    f = root.forward(x)
    c = correlation(f, is_white=job.noise_axis == "none")
    psd = power_spectrum(c, f.shape[1:])
    low, scale = f.min(), np.ptp(f) or 1.0  # its patch matching expects values of about 0 to 1
    cleaned = np.stack([bm3d.bm3d((frame - low) / scale, psd / scale**2) for frame in f[: job.n_frames]])
    y = root.backward(cleaned * scale + low)
    y = y.swapaxes(-1, -2) if job.noise_axis == "y" else y
    lags = " ".join(f"{r:.2f}" for r in c[1:4] / c[0])
    note = f"blind: variance stabilised; noise's correlation at 1 to 3 px: {lags or 'none'}"
    yield untrained("BM3D, correlated", y, clock.lap(), note)
