"""What `cosdd-zoo report` finds of runs: the figures behind its lights, a row a run.

    python benchmarks/reporting.py RUN [RUN ...] [--reference RUN=FILE]

Each run is looked at on its own training images. A light that is not green is named in the last column.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cosdd_zoo

FIGURES = {
    "KL": ("latents", "kl"),
    "correlation off": ("noise_model", "correlation_off"),
    "variance off": ("noise_model", "variance_off"),
    "PIT off": ("likelihood", "pit_off"),
    "explained": ("signal_in_residual", "explained"),
    "across": ("signal_in_residual", "across"),
    "balance": ("noise_left", "balance"),
    "bias": ("intensity", "largest_in_std"),
    "error of 16": ("samples", "error_in_std"),
    "coverage": ("uncertainty_reference", "coverage"),
    "signal lost": ("repeats", "signal_lost"),
    "noise kept": ("repeats", "noise_kept"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--reference", action="append", default=[])
    arguments = parser.parse_args()
    references = dict(given.split("=", 1) for given in arguments.reference)
    print(f"| run | {' | '.join(FIGURES)} | not green |")
    print("|---" * (len(FIGURES) + 2) + "|")
    for run in arguments.runs:
        facts = cosdd_zoo.report(run, reference=references.get(str(run))).facts
        checks = {c.key: c for c in [*facts.checks, *facts.channels[0].checks]}
        cells = [f"{checks[key].figures[figure]:.3f}" if key in checks else "" for key, figure in FIGURES.values()]
        lights = [f"{key} {c.light}" for key, c in checks.items() if c.light != "good"]
        print(f"| {run.name} | {' | '.join(cells)} | {', '.join(lights)} |", flush=True)


if __name__ == "__main__":
    main()
