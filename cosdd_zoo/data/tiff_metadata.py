"""What a TIFF says beside its pixels: as a result in the same format takes it over, and in words of all formats.

Whatever ImageJ or OME say is carried on in their own words, but for what no longer holds: counts, which the writer
makes anew, and facts of channels that a result leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import tifffile

from cosdd_zoo.data.metadata import Channel, Metadata, color_of, nothing_known, unit_name
from cosdd_zoo.data.tiff import Kind, opened

# counts, and what tifffile makes itself
_IMAGEJ_DROPPED = {"ImageJ", "images", "channels", "slices", "frames", "hyperstack", "SCIFIO"}
_IMAGEJ_OF_CHANNELS = ("LUTs", "Ranges", "Labels", "mode", "min", "max")
_IMAGEJ_CALIBRATION = {"cf", "c0", "c1", "c2", "c3", "c4", "vunit"}
_OME_OF_PLANES = ("DeltaT", "ExposureTime", "PositionX", "PositionY", "PositionZ")
_UNITS_OF_RESOLUTION = {2: "inch", 3: "centimeter"}


class TiffMetadata(NamedTuple):
    """What a result takes over from its input."""

    description: dict[str, Any]  # tifffile's words for ImageJ's or OME's metadata
    resolution: dict[str, Any]  # pixels per unit, as tifffile's writer takes it; empty if not known
    photometric: str


def carried_on(
    path: Path, kind: Kind, axes: str, channels: Sequence[int] | None, n_channels: int, same_dtype: bool
) -> TiffMetadata:
    """Metadata of a file for a result of the same kind and axes, as tifffile's writer takes them.

    channels: those of the file that the result holds, None if it holds others; n_channels: how many the file has.
    """
    with opened(path) as tif:
        page = tif.pages.first
        description: dict[str, Any] = {}
        kept = None if channels is None else list(channels)
        if kind == "imagej":
            dropped = _IMAGEJ_DROPPED | (set() if same_dtype else _IMAGEJ_CALIBRATION)
            said = {k: v for k, v in (tif.imagej_metadata or {}).items() if k not in dropped}
            description = said if kept == list(range(n_channels)) else _imagej_of(said, kept)
        if kind == "ome":
            description = _ome(tif.ome_metadata or "", axes, kept, n_channels)
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        return TiffMetadata(description, resolution(page), "miniswhite" if inverted else "minisblack")


def resolution(page: Any) -> dict[str, Any]:
    """The tags as stored: fractions, so that a pixel size survives to the last digit."""
    found = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    if not all(tag is not None and len(tag.value) == 2 and all(tag.value) for tag in found):
        return {}
    unit = page.tags.get("ResolutionUnit")
    known = unit.value if unit and unit.value in (1, *_UNITS_OF_RESOLUTION) else 1
    return {"resolution": tuple(tag.value for tag in found), "resolutionunit": known}


def resolution_of(found: Metadata, kind: Kind) -> dict[str, Any]:
    """Pixels per unit of what another format says, as tifffile's writer takes it."""
    x, y = found.sizes.get("X"), found.sizes.get("Y")
    if not (x and y):
        return {}
    if kind == "imagej":  # in the unit of its description
        return {"resolution": (1 / x, 1 / y), "resolutionunit": 1}
    cm = {"nanometer": 1e-7, "micrometer": 1e-4, "millimeter": 0.1, "centimeter": 1.0}.get(found.units.get("X", ""))
    return {"resolution": (1 / (x * cm), 1 / (y * cm)), "resolutionunit": 3} if cm else {}


def in_shared_words(path: Path, kind: Kind, n_channels: int) -> Metadata:
    """Pixel sizes, time step and channels of a TIFF."""
    with opened(path) as tif:
        if kind == "ome":
            return _shared_ome(tif.ome_metadata or "", n_channels)
        page = tif.pages.first
        sizes, units = _sizes_of(resolution(page))
        if kind != "imagej":
            return Metadata(sizes, units) if units else nothing_known()
        said = tif.imagej_metadata or {}
        unit = unit_name(str(said.get("unit", "")))
        units = {letter: unit or units.get(letter, "") for letter in sizes}
        if "spacing" in said:
            sizes["Z"], units["Z"] = float(said["spacing"]), unit
        if said.get("finterval"):
            sizes["T"], units["T"] = float(said["finterval"]), unit_name(str(said.get("tunit", "sec")))
        if not unit and sizes.get("X") == 1.0:  # pixels
            sizes.pop("X", None), sizes.pop("Y", None)
        return Metadata(sizes, units, _imagej_channels(said, n_channels))


def _sizes_of(found: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    if not found:
        return {}, {}
    sizes = {letter: d / n for letter, (n, d) in zip("XY", found["resolution"], strict=True)}
    unit = _UNITS_OF_RESOLUTION.get(int(found["resolutionunit"]), "")
    return sizes, dict.fromkeys("XY", unit) if unit else {}


def _imagej_of(said: dict[str, Any], kept: list[int] | None) -> dict[str, Any]:
    """ImageJ's words for a result that holds some of the channels, or others."""
    found = {k: v for k, v in said.items() if k not in _IMAGEJ_OF_CHANNELS}
    if kept is None:
        return found
    luts, ranges = said.get("LUTs", []), list(said.get("Ranges", []))
    if all(c < len(luts) for c in kept) and luts:
        found["LUTs"] = [luts[c] for c in kept]
    if ranges and all(2 * c + 1 < len(ranges) for c in kept):
        found["Ranges"] = [value for c in kept for value in ranges[2 * c : 2 * c + 2]]
        found["min"], found["max"] = found["Ranges"][:2]
    if len(kept) > 1 and "mode" in said:
        found["mode"] = said["mode"]
    return found


def _imagej_channels(said: dict[str, Any], n_channels: int) -> tuple[Channel, ...]:
    luts, ranges = said.get("LUTs", []), list(said.get("Ranges", []))
    if not ranges and n_channels == 1 and "min" in said and "max" in said:
        ranges = [said["min"], said["max"]]
    channels = []
    for c in range(n_channels):
        top = [int(v) for v in luts[c][:, -1]] if c < len(luts) and luts[c].shape == (3, 256) else []
        window = (float(ranges[2 * c]), float(ranges[2 * c + 1])) if 2 * c + 1 < len(ranges) else None
        channels.append(Channel("", "".join(f"{v:02X}" for v in top), window))
    return tuple(channels) if any(channel != Channel() for channel in channels) else ()


def _pixels_of(xml: str) -> tuple[ElementTree.Element, ElementTree.Element] | None:
    try:
        image = ElementTree.fromstring(xml).find("{*}Image")
    except ElementTree.ParseError:
        return None
    pixels = None if image is None else image.find("{*}Pixels")
    return None if image is None or pixels is None else (image, pixels)


def _ome(xml: str, axes: str, kept: list[int] | None, n_channels: int) -> dict[str, Any]:
    both = _pixels_of(xml)
    if both is None:
        return {}
    image, pixels = both
    found: dict[str, Any] = {k: v for k, v in pixels.attrib.items() if k.startswith(("PhysicalSize", "TimeIncrement"))}
    found |= {"Name": image.attrib["Name"]} if image.attrib.get("Name") else {}
    for tag in ("AcquisitionDate", "Description"):
        text = image.findtext(f"{{*}}{tag}")
        found |= {tag: text} if text else {}
    channels = pixels.findall("{*}Channel")
    if kept is not None and len(channels) == n_channels:
        found["Channel"] = [
            {k: v for k, v in channels[c].attrib.items() if k not in ("ID", "SamplesPerPixel")} for c in kept
        ]
    if kept == list(range(n_channels)):
        found |= _planes(pixels, axes)
    return found


def _planes(pixels: ElementTree.Element, axes: str) -> dict[str, Any]:
    """Time stamps and stage positions of all planes, in the order in which a result's planes lie."""
    planes = pixels.findall("{*}Plane")
    leading = [a for a in axes if a in "TCZ"]
    lengths = {a: int(pixels.attrib.get(f"Size{a}", 1)) for a in "TCZ"}
    if not planes or len(planes) != math.prod(lengths.values()):
        return {}
    planes = sorted(planes, key=lambda plane: [int(plane.attrib.get(f"The{a}", 0)) for a in leading])
    found: dict[str, Any] = {}
    for name in _OME_OF_PLANES:
        if all(name in plane.attrib for plane in planes):
            found[name] = [float(plane.attrib[name]) for plane in planes]
            units = [plane.attrib.get(f"{name}Unit") for plane in planes]
            found |= {f"{name}Unit": units} if all(units) else {}
    return {"Plane": found} if found else {}


def _shared_ome(xml: str, n_channels: int) -> Metadata:
    both = _pixels_of(xml)
    if both is None:
        return nothing_known()
    image, pixels = both
    sizes, units = {}, {}
    for letter, key in (("T", "TimeIncrement"), *((a, f"PhysicalSize{a}") for a in "ZYX")):
        if key in pixels.attrib:
            sizes[letter] = float(pixels.attrib[key])
            units[letter] = unit_name(pixels.attrib.get(f"{key}Unit", "s" if letter == "T" else "µm"))
    said = [
        Channel(c.attrib.get("Name", ""), color_of(c.attrib.get("Color", ""))) for c in pixels.findall("{*}Channel")
    ]
    channels = tuple(said) if len(said) == n_channels and any(c != Channel() for c in said) else ()
    return Metadata(sizes, units, channels, image.attrib.get("Name", ""))
