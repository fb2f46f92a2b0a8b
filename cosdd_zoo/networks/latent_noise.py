r"""Standard normal noise that belongs to a place in the image, not to a generator's state.

    n = hash(seed, pair, level, c, z, y, x)                       32-bit integers, absolute coordinates
    eps = sqrt(-2 log u_1) cos(2 pi u_2), and sin                 Box-Muller, u = upper 24 bits of two hashes
    cos is of latent channel c, sin of channel c + h              h half of the channels: a hash serves two
    samples 2j and 2j + 1 are an antithetic pair: eps and -eps    (their means err in opposite directions)
    sample -1 is no sample but the middle of all pairs: eps = 0

The same pixel gets the same noise in a whole image and in a tile, on any device, in any runtime. Integers stay below
2^63 (32-bit words times multipliers below 2^31), so that no runtime's treatment of overflow matters.
"""

import math

import torch
from torch import Tensor


def scramble(word: Tensor) -> Tensor:
    """A bijection of 32-bit words (held in int64) whose output bits all depend on all input bits."""
    word = ((word ^ (word >> 16)) * 0x2C1B3C6D) & 0xFFFFFFFF
    word = ((word ^ (word >> 13)) * 0x297A2D39) & 0xFFFFFFFF
    return word ^ (word >> 16)


def chain(word: Tensor, value: Tensor) -> Tensor:
    """The word after it has taken in another integer: 32-bit words in int64, broadcast together."""
    return scramble((word + (value & 0xFFFFFFFF) * 0x1E3779B1 + 0x3C6EF372) & 0xFFFFFFFF)


def latent_noise(like: Tensor, seed: int, sample: int, level: int, shape: list[int], origin: list[int]) -> Tensor:
    """Standard normal noise of one sample and level: [1, channels, *], on `like`'s device, float32.

    shape: [channels, *] of the latents. origin: absolute coordinate of the first latent along each spatial axis, in
    latents of this level.
    """
    if sample < 0:
        return torch.zeros([1] + shape, device=like.device)
    start = torch.zeros([1], dtype=torch.int64, device=like.device)
    word = start
    for key in [seed, sample // 2, level]:
        word = chain(word, start + key)
    n_axes = len(shape)
    half = (shape[0] + 1) // 2
    for axis in range(n_axes):
        place = torch.arange(half if axis == 0 else shape[axis], dtype=torch.int64, device=like.device)
        if axis > 0:
            place = place + origin[axis - 1]
        word = chain(word.unsqueeze(-1), place)
    u = ((word >> 8).float() + 0.5) * (1.0 / 16777216.0)  # 24 bits: what a float32 holds exactly; never 0
    angle = (scramble(word ^ 0x5851F42D) >> 8).float() * (2.0 * math.pi / 16777216.0)
    radius = torch.sqrt(-2.0 * torch.log(u))
    if sample % 2 == 1:
        radius = -radius
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1).narrow(1, 0, shape[0])
