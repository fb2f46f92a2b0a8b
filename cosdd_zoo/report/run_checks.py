"""Lights of a run as a whole: of its training, its latents, and of whether the images are of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cosdd_zoo.report.lights import Check, Light, graded, worst
from cosdd_zoo.training.recorder import COLLAPSED_KL

WEAK_KL = 0.01
STILL_LEARNING = 0.005
"""Nats a pixel that the last quarter of the training gained: it was stopped too early."""
SKIPPED = 0.01, 0.1


def of_training(facts: Mapping[str, Any], validation: Sequence[tuple[float, float]], kl: float) -> list[Check]:
    """validation: seconds and NLL + KL of each one, in order. kl: nats a pixel, of the images that are looked at."""
    collapsed = bool(facts.get("collapsed")) or kl < COLLAPSED_KL
    out = [
        Check(
            key="latents",
            title="The latents hold the signal",
            light="bad" if collapsed else "fair" if kl < WEAK_KL else "good",
            found=f"{kl:.3g} nats a pixel in these images; less than {COLLAPSED_KL} is nothing, a collapsed posterior.",
            advice=(
                "The result is hardly more than the data's mean: train longer, with another --seed, with fewer "
                "--n-mixture, or with a shorter --receptive-field-px."
                if collapsed
                else "It is little: look whether faint structures are in the result, and train longer if not."
                if kl < WEAK_KL
                else ""
            ),
            figures={"kl": kl},
        )
    ]
    if validation and "steps" in facts:
        skipped = facts["skipped_steps"] / max(facts["steps"], 1)
        end = validation[-1][0]
        before = [loss for seconds, loss in validation if seconds <= 0.75 * end]
        gain = min(before) - min(loss for _, loss in validation) if before else 0.0
        light = worst([graded(skipped, SKIPPED), "fair" if gain > STILL_LEARNING or not before else "good"])
        out.append(
            Check(
                key="training",
                title="The training came to its end",
                light=light,
                found=(
                    f"{facts['steps']} steps; the last quarter lowered the validation loss by {gain:.4f} nats a "
                    f"pixel, {skipped:.1%} of the steps were skipped."
                ),
                advice=""
                if light == "good"
                else "It was still learning: give it more --max-time."
                if graded(skipped, SKIPPED) == "good"
                else "Gradients exploded often: lower --learning-rate.",
                figures={"gain": gain, "skipped_share": skipped, "steps": float(facts["steps"])},
            )
        )
    return out


def of_kind(other: Sequence[str] | None, has_pixel_size: bool) -> Check:
    """other: how the images are not of the kind that the model was trained on; None where nothing could be compared.
    has_pixel_size: that of the training images is known.
    """
    light: Light = "unknown" if other is None else "fair" if other else "good"
    found = {
        "unknown": "The model holds no profile of its training images: nothing was compared.",
        "fair": "; ".join(other or ()) + ".",
        "good": f"Noise{', grey values and pixel size' if has_pixel_size else ' and grey values'} are those of the "
        "training.",
    }
    advice = {
        "unknown": "It was imported, or made by an older version: see to it yourself that the images are of its kind.",
        "fair": "Train on images of this kind, or look at some of that one.",
    }
    return Check(
        key="kind",
        title="The images are of the training's kind",
        light=light,
        found=found[light],
        advice=advice.get(light, ""),
        figures={},
    )
