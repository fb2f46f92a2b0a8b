"""From noisy images to a run folder."""
