"""Nothing at all, and the best Gaussian blur that an oracle could choose: the two marks that a denoiser must pass."""

from __future__ import annotations

from cosdd_zoo.data.metrics import best_gaussian, gaussian_blur
from sides.interface import Clock, Job, Results, SkippedError, untrained


def noisy(job: Job) -> Results:
    yield untrained("noisy", job.shown, 0.0)


def gaussian(job: Job) -> Results:
    if job.truth is None:
        raise SkippedError("the best Gaussian is chosen by the truth, and this data set has none")
    clock = Clock()
    best = best_gaussian(job.shown, job.truth)
    clock.lap()
    blurred = gaussian_blur(job.shown, best.sigma_px)
    yield untrained("best Gaussian (oracle)", blurred, clock.lap(), f"sigma {best.sigma_px} px, chosen with the truth")
