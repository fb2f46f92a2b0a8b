"""What one version of bioimageio.spec says of packages' descriptions. Run with that version first on PYTHONPATH:

    python inside_spec.py PACKAGE.zip...

Prints a JSON line a package: {"package", "versions", "cells": {"load": {"ok", "detail"}}}.
"""

import json
import sys
import warnings
from importlib.metadata import version

import bioimageio.spec as spec

warnings.simplefilter("ignore")

for given in sys.argv[1:]:
    try:
        found = spec.load_description(given, perform_io_checks=False)
        summary = found.validation_summary
        said = [str(e.msg) for e in [*summary.errors, *summary.warnings]]
        cell = {"ok": not isinstance(found, spec.InvalidDescr) and not said, "detail": "; ".join(said)}
    except Exception as error:
        cell = {"ok": False, "detail": f"{type(error).__name__}: {error}"[:500]}
    versions = {"bioimageio.spec": version("bioimageio.spec")}
    print(json.dumps({"package": given, "versions": versions, "cells": {"load": cell}}), flush=True)
