"""From facts to what people look at: figures, pages, scores, and the report on a trained model.

The room can be called, as `cosdd_zoo.export` can: Python gives it and the function `cosdd_zoo.report` one name.
"""

import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from cosdd_zoo.report.reported import report

        return report(*arguments, **options)


sys.modules[__name__].__class__ = _CallableRoom
