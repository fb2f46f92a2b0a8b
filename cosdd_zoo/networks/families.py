"""Which layers the networks are made of."""

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.blocks import Blocks


def blocks_of(config: NetworkConfig) -> Blocks:
    return Blocks(config)
