"""Which layers a model's networks are made of: ours, or those that an imported model was trained with."""

from cosdd_zoo.config import NetworkConfig
from cosdd_zoo.networks.authors_blocks import AuthorsBlocks
from cosdd_zoo.networks.blocks import Blocks


def blocks_of(config: NetworkConfig) -> Blocks:
    return AuthorsBlocks(config) if config.blocks == "authors" else Blocks(config)
