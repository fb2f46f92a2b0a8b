r"""A decoder that sees too much: the rows above a pixel as well as the pixels before it (the paper's full AR field).

    above_1 = conv(rows i-4 .. i-1 of x),   above_b = above_b-1 + conv1x1(relu(conv(rows i-2d .. i of above_b-1)))
    log p(x | code) = sum_ij log p(x_ij | code, above_B, x_i,j-1 .. x_i,j-L)

It is the package's own decoder of a line, which is told beside the code what the rows above say. Masked convolutions of
two stacks, as van den Oord et al. (2016) have them, leave no blind spot: the rows above are seen to both sides.

Letters: B batch, C channels, F features of the code, A features of this network, Y X spatial axes, noise axis last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.ar_decoder import ARDecoder
from cosdd_zoo.networks.likelihood import Mixture

FEATURES = 32
FIRST_ROWS, FIRST_SIDE_PX = 4, 4
DILATIONS = (1, 2, 2, 4)
"""Of the convolutions behind the first, 3 rows x 5 px each: 4 + 2 * 9 = 22 rows above, and as many px to both sides."""


class RowsAbove(nn.Module):
    """A convolution whose row i sees i - delay and earlier ones, and both sides: [B, ., Y, X] -> [B, A, Y, X]."""

    def __init__(self, n_in: int, rows: int, side_px: int, dilation: int, delay: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, FEATURES, (rows, 2 * side_px + 1), dilation=dilation)
        self.side = side_px * dilation
        self.top = (rows - 1) * dilation + delay
        self.delay = delay

    def forward(self, x: Tensor) -> Tensor:
        # the last `delay` rows are cut off, so that row i itself never enters
        return self.conv(F.pad(x, [self.side, self.side, self.top, -self.delay]))


class FullField(nn.Module):
    """x [B, C, Y, X] and code [B, F, Y, X] -> the mixture of each pixel given the rows above and its line's past."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.first = RowsAbove(config.n_channels, FIRST_ROWS, FIRST_SIDE_PX, 1, delay=1)
        self.above = nn.ModuleList(RowsAbove(FEATURES, 3, 2, dilation, delay=0) for dilation in DILATIONS)
        self.out = nn.ModuleList(nn.Conv2d(FEATURES, FEATURES, 1) for _ in DILATIONS)
        self.line = ARDecoder(config.model_copy(update={"n_code": config.n_code + FEATURES}))

    def forward(self, x: Tensor, code: Tensor) -> Mixture:
        above = self.first(x)
        for layer, out in zip(self.above, self.out, strict=True):
            above = above + out(F.relu(layer(F.relu(above))))
        mixture: Mixture = self.line(x, torch.cat([code, above], dim=1))
        return mixture
