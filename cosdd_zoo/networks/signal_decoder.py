r"""The signal decoder: latents back into image space.

    f(code) -> s_hat,   trained with || f(code) - x ||^2 and no gradient to code                        Eq. 6

Noise is zero-centred, so the least squared error to noisy targets is reached by the signal itself.
Letters: B batch, C channels, F features, * spatial axes.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.families import blocks_of


class SignalDecoder(nn.Module):
    """3x3 convolutions with ReLU between them: code [B, F, *] -> signal [B, C, *], normalised."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        blocks, n = blocks_of(config), config.n_code
        self.hidden = nn.ModuleList(blocks.conv(n, n) for _ in range(config.signal_layers - 1))
        self.out = blocks.conv(n, config.n_channels)

    def forward(self, code: Tensor) -> Tensor:
        h = code
        for layer in self.hidden:
            h = F.relu(layer(h))
        return self.out(h)
