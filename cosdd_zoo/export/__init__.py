"""From a trained model to a package of the BioImage Model Zoo, and the rules that such a package must keep.

The room can be called: Python gives the function `cosdd_zoo.export` and this room one name, and whichever of them the
name means at the moment, `cosdd_zoo.export(run, "model.zip", card=...)` exports.
"""

import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from cosdd_zoo.export.export import export_run

        return export_run(*arguments, **options)


sys.modules[__name__].__class__ = _CallableRoom
