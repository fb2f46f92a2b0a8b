"""From a trained model and noisy images to denoised ones."""
