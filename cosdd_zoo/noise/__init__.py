"""What noise is like: its correlation, from images or from what a denoiser took away."""
