"""python -m sides NAME FOLDER, from benchmarks/: the process that `process.measure` starts."""

import sys
from pathlib import Path

from sides.process import run_here

if __name__ == "__main__":
    run_here(sys.argv[1], Path(sys.argv[2]))
