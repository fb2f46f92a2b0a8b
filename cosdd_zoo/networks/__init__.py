"""The networks: tensors in, tensors out. Everything here scripts, with ops of libtorch 1.13.1 alone."""
