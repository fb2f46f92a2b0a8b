"""Errors that a user can act on: each message says what was found, what was expected and what to do.

Anything else that is raised is a fault of this package and keeps its traceback.
"""


class CosddError(Exception):
    """A mistake that the user can mend: one red line, exit code 1."""


class ImageError(CosddError):
    """An image that is missing, damaged, or not of a kind that can be denoised."""


class AxesError(CosddError):
    """Axes that do not fit an image's shape, or that nobody has named."""


class ConfigError(CosddError):
    """An unknown preset or setting, or settings that exclude each other."""


class CheckpointError(CosddError):
    """A run folder or checkpoint that is missing, damaged, or made for other data."""


class PackageError(CosddError):
    """A model package that is damaged, unsafe to open, or not one of ours."""


class OutputError(CosddError):
    """A result that cannot be written: full or read-only disk, a file or folder in the way."""


class TrainingError(CosddError):
    """A training that cannot start or go on: constant images, too few pixels, a loss that is not finite."""


class UploadError(CosddError):
    """What the zoo's store refuses, or a connection to it that breaks."""
