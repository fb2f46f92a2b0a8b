"""Noisy stacks whose truth is known: clean scenes, seven kinds of noise, and the stacks and files made of both."""

from cosdd_zoo.data.simulate.noises import NOISES, Noise
from cosdd_zoo.data.simulate.stack import Simulated, confocal_stack, photon_stack, scene_stack, to_photons

__all__ = ["NOISES", "Noise", "Simulated", "confocal_stack", "photon_stack", "scene_stack", "to_photons"]
