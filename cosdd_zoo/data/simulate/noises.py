r"""The noises: each draws a noisy frame of expected photons f [Y, X], and states its own variance and correlation.

    x = PEDESTAL + g f + e,    E[e | f] = 0,    g = gain, grey levels a photon;    frames are independent

    kind          e                                              Var[e]                        Corr[e_j, e_j+k]
    uncorrelated  g (P - f) + r n                                V = g^2 f + r^2               0
    stripes       g (P - f) + r n + a b                          V + a^2                       a^2 exp(-k^2/4B^2) / Var
    pickup        g (P - f) + r n + a sqrt(2) cos(2 pi j/T + t)  V + a^2                       a^2 cos(2 pi k/T) / Var
    ar1           phi e_j-1 + sqrt(1 - phi^2) sqrt(V_j) n_j      V                             phi^k
    checkerboard  D (sqrt(1 - w) n_j + sqrt(w) c_j)              D^2,  D = d / (1 + f / h)     w (-rho)^k
    emccd         m_j - u m_j-1,   m = g (G - f) + r n           (1 + u^2) (V + g^2 f)         -u / (1 + u^2) if k = 1
    scmos         g (q P - f) + r o n + a c                      V + p^2 g^2 (f + f^2) + a^2   a^2 / Var, along y

Letters: P ~ Poisson(f); n, white and standard normal; j, the place along a line; k > 0, a lag in px; r, read_std; the
others are told by each class. Variance and correlation hold where neighbours have one f, before rounding, which adds
1/12 to the variance.
Lines along the noise axis are independent of each other; the axis is x, but y of scmos and none of uncorrelated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from cosdd_zoo.config import NoiseAxis, Settings
from cosdd_zoo.data.simulate.gaussian import Frame, unit_blur

PEDESTAL = 100.0  # grey levels of no light: the default noises reach 0 from there at five of their deviations or more

Levels = NDArray[np.float64]  # any shape

_MARGIN_PX = 16  # drawn around a line and cut off, so that nothing wraps around


class Noise(Settings, ABC):
    """One kind of noise with its parameters; deviations (std) are in grey levels."""

    model_config = ConfigDict(allow_inf_nan=False)

    axis: ClassVar[NoiseAxis]
    kind: str
    """Name of the kind, a key of NOISES."""
    gain: float = Field(4.0, gt=0)
    """Grey levels a photon, g."""

    @abstractmethod
    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        """g f + e [Y, X] in grey levels, neither rounded nor clipped, of expected `photons` f [Y, X], all >= 0."""

    @abstractmethod
    def variance(self, photons: Levels) -> Levels:
        """Var[e] in grey levels squared at each level of `photons`, where neighbours have the same."""

    @abstractmethod
    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        """Corr[e_j, e_j+k] along the noise axis at lag k >= 1, at each level of `photons`."""


class _PhotonNoise(Noise):
    """V = g^2 f + r^2: Poisson and white Gaussian noise, which most kinds build on."""

    read_std: float = Field(13.0, ge=0)
    """Deviation of the white noise of reading out."""

    def variance(self, photons: Levels) -> Levels:
        return np.asarray(self.gain**2 * photons + self.read_std**2)


class Uncorrelated(_PhotonNoise):
    """e = g (P - f) + r n: the control, which a blind-spot network can remove as well."""

    axis: ClassVar[NoiseAxis] = "none"
    kind: Literal["uncorrelated"] = "uncorrelated"

    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        white = rng.standard_normal(photons.shape)
        return np.asarray(self.gain * rng.poisson(photons) + self.read_std * white)

    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        return np.zeros(np.shape(photons))


class Stripes(_PhotonNoise):
    """e = g (P - f) + r n + a b: the electronics of a scanning detector, which smear along a line.

    b is white normal noise, blurred along x by a Gaussian of B px and brought back to unit variance.
    """

    axis: ClassVar[NoiseAxis] = "x"
    kind: Literal["stripes"] = "stripes"
    row_std: float = Field(12.0, ge=0)
    """Deviation of the blurred noise, a."""
    row_sigma_px: float = Field(1.5, ge=0.8, le=100)
    """Sigma of the blur, B; a Gaussian narrower than 0.8 px is no Gaussian once sampled."""

    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        height, width = photons.shape
        margin = max(_MARGIN_PX, int(np.ceil(4 * self.row_sigma_px)))
        white = rng.standard_normal((height, width))
        row = unit_blur(rng.standard_normal((height, width + 2 * margin)), self.row_sigma_px, axis=1)
        grey = self.gain * rng.poisson(photons) + self.read_std * white + self.row_std * row[:, margin:-margin]
        return np.asarray(grey)

    def variance(self, photons: Levels) -> Levels:
        return super().variance(photons) + self.row_std**2

    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        blurred = np.exp(-(lag_px**2) / (4 * self.row_sigma_px**2))
        return np.asarray(self.row_std**2 * blurred / self.variance(photons))


class Pickup(_PhotonNoise):
    """e = g (P - f) + r n + a sqrt(2) cos(2 pi j / T + t): the mains or a clock, heard while a line is scanned.

    The phase t is uniform and drawn anew for each row, as where rows do not start in step with the interference.
    """

    axis: ClassVar[NoiseAxis] = "x"
    kind: Literal["pickup"] = "pickup"
    pickup_std: float = Field(12.0, ge=0)
    """Root mean square of the wave, a."""
    period_px: float = Field(12.7, gt=2)
    """Pixels of one period, T."""

    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        white = rng.standard_normal(photons.shape)
        phase = rng.uniform(0, 2 * np.pi, (photons.shape[0], 1))
        wave = np.cos(2 * np.pi / self.period_px * np.arange(photons.shape[1]) + phase)
        return np.asarray(
            self.gain * rng.poisson(photons) + self.read_std * white + np.sqrt(2) * self.pickup_std * wave
        )

    def variance(self, photons: Levels) -> Levels:
        return super().variance(photons) + self.pickup_std**2

    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        wave = np.cos(2 * np.pi * lag_px / self.period_px)
        return np.asarray(self.pickup_std**2 * wave / self.variance(photons))


class Ar1(_PhotonNoise):
    """e_j = phi e_j-1 + sqrt(1 - phi^2) sqrt(V_j) n_j: a slow amplifier, which remembers the noise before.

    A row begins with e_0 = sqrt(V_0) n_0. Where f changes along the row, Var[e_j] follows V_j with the same memory.
    Shot noise is normal here, for only then is the correlation exact.
    """

    axis: ClassVar[NoiseAxis] = "x"
    kind: Literal["ar1"] = "ar1"
    coefficient: float = Field(0.7, gt=-1, lt=1)
    """Share of a pixel's noise that the next one repeats, phi."""
    signal_dependent: bool = True
    """Whether innovations contain shot noise; without it V is r^2 everywhere."""

    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        innovations = np.sqrt(self.variance(photons)) * rng.standard_normal(photons.shape)
        return np.asarray(self.gain * photons + _remembered(innovations, self.coefficient))

    def variance(self, photons: Levels) -> Levels:
        return super().variance(photons if self.signal_dependent else np.zeros(np.shape(photons)))

    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        return np.full(np.shape(photons), self.coefficient**lag_px)


class Checkerboard(Noise):
    """e_j = D (sqrt(1 - w) n_j + sqrt(w) c_j),   D = d / (1 + f / h): signs alternate, most of all in the dark.

    c_j = (-1)^j times a slow AR(1) process of unit variance and coefficient rho, which makes it AR(1) with -rho: the
    pattern has a period of 2 px, starts with either sign in each row, and lasts about -1 / log(rho) px before its
    amplitude is another. The paper tests on a checkerboard and on noise that falls with the signal but never
    published its formula; this is a definition of our own, so figures on it cannot be compared with the paper's.
    """

    axis: ClassVar[NoiseAxis] = "x"
    kind: Literal["checkerboard"] = "checkerboard"
    dark_std: float = Field(20.0, ge=0)
    """Deviation of the noise where there is no light, d."""
    half_photons: float = Field(10.0, gt=0)
    """Photons at which the deviation has fallen to a half, h."""
    share: float = Field(0.8, ge=0, le=1)
    """Share of the variance that alternates, w; the rest is white."""
    persistence: float = Field(0.95, ge=0, le=1)
    """Correlation of the alternating amplitude from pixel to pixel, rho; 1: it stays the same along a row."""

    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        white, driving = rng.standard_normal((2, *photons.shape))
        pattern = np.sqrt(1 - self.share) * white + np.sqrt(self.share) * _remembered(driving, -self.persistence)
        return np.asarray(self.gain * photons + np.sqrt(self.variance(photons)) * pattern)

    def variance(self, photons: Levels) -> Levels:
        return np.asarray((self.dark_std / (1 + photons / self.half_photons)) ** 2)

    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        return np.full(np.shape(photons), self.share * (-self.persistence) ** lag_px)


class Emccd(_PhotonNoise):
    """e_j = m_j - u m_j-1,   m = g (G - f) + r n: an electron-multiplying CCD, whose output swings back.

    G ~ Gamma(P, 1) is the multiplied charge: P electrons, each multiplied by an exponential factor of mean 1, so that
    Var[G] = 2 f, the excess noise factor of 2. Each pixel takes a share u of the noise of the one before it away; real
    cameras have a correlation of -0.05 to -0.10 between neighbours in x.
    """

    axis: ClassVar[NoiseAxis] = "x"
    kind: Literal["emccd"] = "emccd"
    read_std: float = Field(2.0, ge=0)
    """Deviation of the white noise of reading out: less than an electron, for multiplication comes before it."""
    undershoot: float = Field(0.08, ge=0, lt=1)
    """Share of a pixel's noise that is missing in the next, u."""

    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        expected = np.pad(photons, ((0, 0), (1, 0)), mode="edge")  # the first pixel has one before it, unseen
        charge = rng.gamma(rng.poisson(expected))
        noise = self.gain * (charge - expected) + self.read_std * rng.standard_normal(expected.shape)
        return np.asarray(self.gain * photons + noise[:, 1:] - self.undershoot * noise[:, :-1])

    def variance(self, photons: Levels) -> Levels:
        return np.asarray((1 + self.undershoot**2) * super().variance(2 * photons))

    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        swing = -self.undershoot / (1 + self.undershoot**2) if lag_px == 1 else 0.0
        return np.full(np.shape(photons), swing)


class Scmos(_PhotonNoise):
    """e = g (q P - f) + r o n + a c: a camera with an amplifier for each pixel and a converter for each column.

    The chip's own maps, the same in every frame: pixel gains q = 1 + p n, and read noise r o with log-normal o,
    E[o^2] = 1. The offset a c of a column is drawn anew in each frame, for two reasons. A camera subtracts the part
    that stays, measured in the dark, and leaves the part that drifts. And noise must be zero on average given the
    signal: an offset that stays is, to all who see one chip, part of the signal. Over many chips, even q P is.
    Columns are independent and each is wholly correlated, so the noise axis is y.
    """

    axis: ClassVar[NoiseAxis] = "y"
    kind: Literal["scmos"] = "scmos"
    read_std: float = Field(8.0, ge=0)
    """Root mean square of the pixels' read noises, r."""
    read_spread: float = Field(0.3, ge=0, le=2)
    """Deviation of the logarithm of the pixels' read noises."""
    gain_spread: float = Field(0.01, ge=0, lt=0.2)
    """Relative deviation of the pixels' gains, p."""
    column_std: float = Field(12.0, ge=0)
    """Deviation of the columns' offsets, a; more than a good camera's, so that it can be seen."""
    fixed_columns: bool = False
    """The chip's columns keep their offsets in all frames, as in raw data that nobody has corrected."""
    chip: int = Field(0, ge=0)
    """Number of the chip: its maps are drawn from this, whatever the seed of the frames."""

    def expose(self, photons: Frame, rng: np.random.Generator) -> Frame:
        chip = np.random.default_rng([self.chip, *photons.shape])
        gain = self.gain * (1 + self.gain_spread * chip.standard_normal(photons.shape))
        spread = np.exp(self.read_spread * chip.standard_normal(photons.shape) - self.read_spread**2)
        column = (chip if self.fixed_columns else rng).standard_normal(photons.shape[1])
        white = self.read_std * spread * rng.standard_normal(photons.shape)
        return np.asarray(gain * rng.poisson(photons) + white + self.column_std * column)

    def variance(self, photons: Levels) -> Levels:
        uneven = (self.gain_spread * self.gain) ** 2 * (photons + photons**2)
        return super().variance(photons) + uneven + self.column_std**2

    def correlation(self, lag_px: int, photons: Levels) -> Levels:
        return np.asarray(self.column_std**2 / self.variance(photons))


AnyNoise = Uncorrelated | Stripes | Pickup | Ar1 | Checkerboard | Emccd | Scmos

NOISES: dict[str, type[Noise]] = {str(kind.model_fields["kind"].default): kind for kind in get_args(AnyNoise)}
"""The kinds by name."""


def _remembered(driving: Frame, coefficient: float) -> Frame:
    """e_j = coefficient e_j-1 + sqrt(1 - coefficient^2) driving_j along x, e_0 = driving_0; as strong as `driving`."""
    rows = np.sqrt(1 - coefficient**2) * driving
    rows[:, 0] = driving[:, 0]
    for j in range(1, rows.shape[1]):
        rows[:, j] += coefficient * rows[:, j - 1]
    return np.asarray(rows)
