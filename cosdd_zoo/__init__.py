"""cosdd_zoo: denoise microscopy images, and export the denoiser to the BioImage Model Zoo.

Importing it imports no torch; the first use of a name does.
"""

from typing import TYPE_CHECKING, Any

from cosdd_zoo.version import __version__

if TYPE_CHECKING:
    from cosdd_zoo.api import (
        Denoiser,
        Run,
        check,
        distill,
        export,
        import_authors,
        inspect,
        load,
        noise_model,
        open_images,
        report,
        resume,
        train,
        upload,
    )

__all__ = [
    "Denoiser",
    "Run",
    "__version__",
    "check",
    "distill",
    "export",
    "import_authors",
    "inspect",
    "load",
    "noise_model",
    "open_images",
    "report",
    "resume",
    "train",
    "upload",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cosdd_zoo import api

    return getattr(api, name)
