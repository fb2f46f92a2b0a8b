r"""Hierarchical DivNoising (Prakash et al. 2022), HDN and HDN36, of the parts that CAREamics has (PyPI careamics).

    L(x) = -mean_i log p(x_i | s_i) + w sum_l max(KL_l, 1) / (Y X)        its hdn_loss; w rises to 1 as (step / 200)^2
    p(x_i | s_i) = N(s_i, v(s_i))                                         its noise model; v of noise_level, blindly

Since version 0.3 CAREamics trains no ladder VAE, so the loop is here: network, likelihood, loss, the KL's rise and the
drawing of samples are CAREamics'. From HDN's authors are 6 levels of 32 latents, Adamax, mirrored crops and the mean of
100 samples; from CAREamics' defaults 32 filters and one block a level, of which a CPU makes a thousand steps in ten
minutes. For so few, the rate is ten times the authors' and falls to zero over the time.

HDN is meant for noise that is independent between pixels. HDN36 uses the levels 3 to 6: in 1 and 2, the finest, the
posterior does not look at the image, so that noise of short reach finds no latents to live in.

Letters: B crops.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from careamics.config import GaussianMixtureNMConfig, LVAELossConfig
from careamics.config.losses.loss_config import KLLossConfig
from careamics.lightning.prediction.lvae.lvae_prediction import lvae_predict_single_sample
from careamics.losses import hdn_loss
from careamics.models.lvae import LadderVAE
from careamics.models.lvae.likelihoods import NoiseModelLikelihood
from careamics.models.lvae.noise_models import GaussianMixtureNoiseModel
from torch import Tensor

from sides.interface import Clock, Job, Result, Results, SkippedError, Stack
from sides.noise_level import VarianceLine, variance_line

N_SAMPLES = 100
LATENTS = [32] * 6
FILTERS = 32
BLOCK_PX = 2 ** (len(LATENTS) + 1)  # sides are multiples of it, for CAREamics' top level needs two pixels
CROP_PX = BLOCK_PX
BATCH = 4
LEARNING_RATE = 3e-3
RISE_STEPS = 200  # without the rise HDN36 learned to return the mean of the stack
NO_GAIN = 1e-20  # the noise model takes logarithms
NOTE = f"CAREamics' network, {len(LATENTS)} levels, {FILTERS} filters; {BATCH} crops of {CROP_PX} px; blind noise model"


def hdn(job: Job) -> Results:
    yield from rows(job, "HDN", n_blind=0)


def hdn36(job: Job) -> Results:
    yield from rows(job, "HDN36", n_blind=2)


def rows(job: Job, name: str, n_blind: int) -> Results:
    clock = Clock()
    torch.manual_seed(job.seed)
    x = np.asarray(job.noisy, np.float32)
    mean, std = float(x.mean()), float(x.std()) or 1.0
    turned = x.swapaxes(-1, -2) if job.noise_axis == "y" else x
    likelihood = likelihood_of(variance_line(np.asarray(turned, np.float64)), mean, std, job.folder)
    network = ladder(n_blind)
    kl = train(network, likelihood, (x - mean) / std, clock.began, 60.0 * job.minutes)
    training_s, steps = clock.lap(), len(kl)
    if steps == 0:
        raise SkippedError("the time was over before the first step")
    note = f"{NOTE}; KL {np.mean(kl[-100:]):.4f} nats a pixel"
    samples = (s * std + mean for s in drawn(network, likelihood, (x[: job.n_frames] - mean) / std))
    clock.lap()
    first = next(samples)
    one_s = clock.lap()
    yield Result(f"{name}, one sample", first, training_s, one_s, steps, note)
    n = job.n_samples or N_SAMPLES
    clock.lap()
    total = first.astype(np.float64)
    for _ in range(n - 1):
        total += next(samples)
    yield Result(f"{name}, mean of {n}", np.float32(total / n), training_s, one_s + clock.lap(), steps, note)


def ladder(n_blind: int) -> LadderVAE:
    """n_blind: levels, from the finest, whose posterior does not look at the image."""
    network = LadderVAE(
        input_shape=(CROP_PX, CROP_PX),
        output_channels=1,
        multiscale_count=1,
        z_dims=LATENTS,
        encoder_n_filters=FILTERS,
        decoder_n_filters=FILTERS,
        encoder_conv_strides=[2, 2],
        decoder_conv_strides=[2, 2],
        encoder_dropout=0.0,
        decoder_dropout=0.0,
        nonlinearity="ELU",
        predict_logvar=None,
        analytical_kl=False,
    )
    network.skip_bottomk_buvalues = n_blind
    for level in network.top_down_layers[:n_blind]:
        # an option of their levels that their network passes on no more
        level.register_forward_pre_hook(lambda _, args, kw: (args, {**kw, "use_uncond_mode": True}), with_kwargs=True)
    return network


def likelihood_of(v: VarianceLine, mean: float, std: float, folder: Path) -> NoiseModelLikelihood:
    """A mixture of one Gaussian, log p(x_i | s_i) in grey values, from the file that CAREamics reads noise models from.

    Its variance is exp(w_10) + exp(w_11) (s - min) / (max - min), no less than min_sigma.
    """
    low = (v.floor - v.offset) / v.gain if v.gain else 0.0
    variance = [v.floor, v.gain] if v.gain else [v.offset, NO_GAIN]
    path = folder / "noise_model.npz"
    np.savez(
        path,
        trained_weight=np.log(np.array([[1.0, 1.0], variance, [1.0, 1.0]])).astype(np.float32),
        min_signal=np.float32(low),
        max_signal=np.float32(low + 1.0),
        min_sigma=np.float32(v.floor),
    )
    likelihood = NoiseModelLikelihood(GaussianMixtureNoiseModel(GaussianMixtureNMConfig(path=path)))
    likelihood.set_data_stats(mean, std)
    return likelihood


def train(network: LadderVAE, likelihood: NoiseModelLikelihood, x: Stack, began: float, seconds: float) -> list[float]:
    """Until so many seconds after the clock showed `began`; each step's KL in nats a pixel."""
    rise = KLLossConfig(annealing=True, start=0, annealtime=RISE_STEPS)  # in steps, where CAREamics counts epochs
    config = LVAELossConfig(loss_type="hdn", kl_params=rise)
    optimizer = torch.optim.Adamax(network.parameters())
    frames = torch.from_numpy(padded(x, CROP_PX, multiples=False))
    kl: list[float] = []
    network.train()
    while (done := (time.perf_counter() - began) / seconds) < 1.0:
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * done))
        config.kl_params.current_epoch = len(kl)
        batch = crops(frames)
        outputs = network(batch)
        loss = hdn_loss(outputs, batch, config, None, likelihood)
        kl.append(float(sum(level.detach().mean() for level in outputs[1]["kl"]) / CROP_PX**2))
        if loss is not None:
            optimizer.zero_grad()
            loss["loss"].backward()
            optimizer.step()
    return kl


def crops(frames: Tensor) -> Tensor:
    """[B, 1, CROP_PX, CROP_PX], mirrored at random; not turned, for the noise has a direction."""
    found = []
    for _ in range(BATCH):
        k, top, left = (int(torch.randint(n, ())) for n in (len(frames), *(n - CROP_PX + 1 for n in frames.shape[1:])))
        crop = frames[k, top : top + CROP_PX, left : left + CROP_PX]
        found.append(crop.flip([axis for axis in (0, 1) if torch.rand(()) < 0.5]))
    return torch.stack(found)[:, None]


def drawn(network: LadderVAE, likelihood: NoiseModelLikelihood, x: Stack) -> Iterator[Stack]:
    """Samples s of all frames, without end."""
    frames = torch.from_numpy(padded(x, BLOCK_PX, multiples=True))[:, None, None]
    network.reset_for_inference(tuple(frames.shape[-2:]))
    while True:
        samples = [lvae_predict_single_sample(network, likelihood, frame)[0] for frame in frames]
        yield torch.stack(samples)[:, 0, 0, : x.shape[1], : x.shape[2]].numpy()


def padded(x: Stack, px: int, multiples: bool) -> Stack:
    """Mirrored at the far borders, to sides of `px` at least, or to multiples of it."""
    sides = [-(-n // px) * px if multiples else max(n, px) for n in x.shape[1:]]
    return np.pad(x, [(0, 0), *((0, side - n) for side, n in zip(sides, x.shape[1:], strict=True))], mode="reflect")
