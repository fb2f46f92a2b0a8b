"""Images with a camera's own noise: a noise model to draw from, and files of what it draws."""
