"""What formats say beside pixels, in words that all of them share: pixel sizes, the time step, the channels.

A result in its input's own format takes over that format's words as they are (data.tiff); these are for results in
another format, and for whoever wants a pixel's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

OME_SYMBOLS = {
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "inch": "in",
    "meter": "m",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
}
"""Units as OME-Zarr names them (UDUNITS-2), and the symbols of OME-XML."""

_OTHER_NAMES = {
    "um": "micrometer",
    "μm": "micrometer",  # the Greek letter; above it is the micro sign
    "micron": "micrometer",
    "microns": "micrometer",
    "micrometre": "micrometer",
    "nanometre": "nanometer",
    "sec": "second",
    "msec": "millisecond",
    "inches": "inch",
    "\\u00b5m": "micrometer",  # as ImageJ escapes it
}


class Channel(NamedTuple):
    name: str = ""
    color: str = ""  # RRGGBB, as on the screen
    window: tuple[float, float] | None = None  # display range, grey values


class Metadata(NamedTuple):
    """sizes: of a step along T, Z, Y, X, by letter; units: their names in UDUNITS-2, "" where nobody says."""

    sizes: dict[str, float]
    units: dict[str, str]
    channels: tuple[Channel, ...] = ()
    name: str = ""

    def of_channels(self, chosen: Sequence[int]) -> Metadata:
        """Of a result that holds some of the channels."""
        kept = tuple(self.channels[c] for c in chosen) if len(self.channels) > max(chosen, default=-1) else ()
        return self._replace(channels=kept)


def nothing_known() -> Metadata:
    return Metadata({}, {})


def unit_name(said: str) -> str:
    """A unit as OME-Zarr names it; a name that is not known stays as it is."""
    said = said.strip()
    by_symbol = {symbol: name for name, symbol in OME_SYMBOLS.items()}
    return by_symbol.get(said) or _OTHER_NAMES.get(said.lower()) or (said if said != "pixel" else "")


def as_ome(found: Metadata) -> dict[str, Any]:
    """In the words of tifffile's OME writer."""
    words: dict[str, Any] = {}
    for letter, size in found.sizes.items():
        if not found.units.get(letter):  # OME would take it for micrometers
            continue
        key = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        words[key] = size
        symbol = OME_SYMBOLS.get(found.units.get(letter, ""))
        words |= {f"{key}Unit": symbol} if symbol else {}
    if found.name:
        words["Name"] = found.name
    if found.channels:
        words["Channel"] = [
            {**({"Name": c.name} if c.name else {}), **({"Color": _signed(c.color)} if c.color else {})}
            for c in found.channels
        ]
    return words


def as_imagej(found: Metadata) -> dict[str, Any]:
    """In the words of ImageJ's description; the pixel size itself is in a TIFF's resolution tags."""
    words: dict[str, Any] = {}
    if "Z" in found.sizes and found.units.get("Z", "") == found.units.get("X", ""):  # ImageJ has one unit for both
        words["spacing"] = found.sizes["Z"]
    if "T" in found.sizes:
        words |= {"finterval": found.sizes["T"], "tunit": OME_SYMBOLS.get(found.units.get("T", ""), "sec")}
    if unit := found.units.get("X"):
        words["unit"] = {"micrometer": "micron"}.get(unit, OME_SYMBOLS.get(unit, unit))
    windows = [c.window for c in found.channels if c.window]
    if windows and len(windows) == len(found.channels):
        words |= {"min": windows[0][0], "max": windows[0][1]}
        if len(windows) > 1:
            words["Ranges"] = [value for window in windows for value in window]
    if found.channels and all(c.color for c in found.channels):
        words["LUTs"] = [_lut(c.color) for c in found.channels]
        words |= {"mode": "composite"} if len(found.channels) > 1 else {}
    return words


def _lut(color: str) -> Any:
    """[3, 256] from black to a colour."""
    import numpy as np

    rgb = np.array([int(color[i : i + 2], 16) for i in (0, 2, 4)])
    return (np.arange(256)[None] * rgb[:, None] / 255).round().astype(np.uint8)


def _signed(color: str) -> int:
    """OME's colour: RGBA in a signed 32-bit integer."""
    value = int(color, 16) << 8 | 0xFF
    return value - 2**32 if value >= 2**31 else value


def color_of(signed: str) -> str:
    """RRGGBB of OME's colour; "" where it is none."""
    try:
        return f"{(int(signed) & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        return ""
