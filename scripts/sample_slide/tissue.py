"""Paint the level of highest resolution: a section of gland-bearing mucosa in H&E colours.

Knows how stained tissue looks at 0.5 µm per pixel; knows nothing of DICOM, tiles or files. Two
stain densities are painted, haematoxylin and eosin, and turned into light by the Beer-Lambert law.
Every random number comes from one seeded generator: a seed and a size always give the same picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Picture = NDArray[np.uint8]

# Light through bare glass, and what one unit of each stain takes away (optical density, RGB).
LAMP = (244.0, 243.0, 246.0)
HAEMATOXYLIN = (1.08, 1.36, 0.62)
EOSIN = (0.11, 0.92, 0.44)

# Shapes larger than a nucleus are painted on a grid of this many pixels, then enlarged.
COARSE = 4

GLAND_PITCH = 250  # pixels between the centres of neighbouring glands
NUCLEUS_PITCH = 19  # pixels between the centres of neighbouring stroma nuclei
EPITHELIUM_PITCH = 15  # pixels between neighbouring nuclei around a gland
STAMP_ANGLES = 24
STAMP_VARIANTS = 3


@dataclass(frozen=True, slots=True)
class Gland:
    """An elliptic gland. Lengths in pixels of the finished picture, the angle in radians."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    angle: float
    wobble: float  # phase of the dents in its outline


@dataclass(frozen=True, slots=True)
class Ground:
    """Densities of everything larger than a nucleus, on the coarse grid, 0 to about 1."""

    section: Field  # 1 inside the section, 0 on bare glass
    eosin: Field
    haematoxylin: Field
    stroma: Field  # 1 where stroma nuclei may lie
    crowding: Field  # how densely


def paint_section(width: int, height: int, seed: int) -> Picture:
    """Return the picture of a section: shape (height, width, 3), RGB, 8 bit."""
    rng = np.random.default_rng(seed)
    ground, glands = _lay_ground(width, height, rng)
    nuclei = np.zeros((height, width), np.float32)
    _stamp_stroma(nuclei, ground, rng)
    _stamp_epithelium(nuclei, ground, glands, rng)
    return _shine_through(ground, nuclei, rng)


def halve(picture: Picture) -> Picture:
    """Return the picture at half the size, rounded up; each pixel is the mean of four."""
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    pairs = even[0::2].astype(np.uint16) + even[1::2]
    return ((pairs[:, 0::2] + pairs[:, 1::2] + 2) >> 2).astype(np.uint8)


def enlarge(field: Field, height: int, width: int, rows: slice = slice(None)) -> Field:
    """Return rows `rows` of the field at the size (height, width), interpolated linearly."""
    places, weights = (each[rows] for each in _positions(field.shape[0], height))
    strip = field[places[0] : places[-1] + 2]
    upper = strip[places - places[0]]
    tall = upper + (strip[places - places[0] + 1] - upper) * weights[:, None]
    places, weights = _positions(field.shape[1], width)
    left = tall[:, places]
    result: Field = left + (tall[:, places + 1] - left) * weights
    return result


def _positions(source: int, target: int) -> tuple[NDArray[np.intp], Field]:
    """For each target sample: the source sample before it and the weight of the one after."""
    place = (np.arange(target, dtype=np.float32) + 0.5) * (source / target) - 0.5
    place = np.clip(place, 0, source - 1 - 1e-3)
    before = place.astype(np.intp)
    return before, place - before


def _noise(height: int, width: int, cell: float, octaves: int, rng: np.random.Generator) -> Field:
    """Smooth noise around 0, standard deviation about 0.3; `cell` is the size of its blots."""
    total = np.zeros((height, width), np.float32)
    strength = 0.5
    for _ in range(octaves):
        rows, columns = (max(2, int(side / cell) + 2) for side in (height, width))
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += strength * enlarge(grid, height, width)
        strength /= 2
        cell = max(1.0, cell / 2)
    return total


def _ramp(field: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((field - low) / (high - low), 0, 1)
    result: Field = t * t * (3 - 2 * t)
    return result


def _lay_ground(width: int, height: int, rng: np.random.Generator) -> tuple[Ground, list[Gland]]:
    """Paint the section's outline, its fibres and its glands on the coarse grid."""
    h, w = -(-height // COARSE), -(-width // COARSE)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    u, v = x / w * 2 - 1, y / h * 2 - 1

    # A rounded rectangle with a torn edge.
    outline = (np.abs(u / 0.86) ** 3.2 + np.abs(v / 0.80) ** 3.2) ** (1 / 3.2)
    outline = outline + 0.30 * _noise(h, w, min(h, w) / 4, 6, rng)
    section = 1 - _ramp(outline, 0.96, 1.0)

    # Fibres: bands of a field that is stretched along a direction and bent by noise.
    bend = _noise(h, w, 110, 4, rng)
    fibres = np.sin((u * w * 0.34 + v * h * 0.72) / 11 + 9 * bend).astype(np.float32)
    clefts = _ramp(fibres + 1.2 * _noise(h, w, 40, 3, rng), 0.80, 1.35)
    eosin = 0.50 + 0.10 * fibres + 0.26 * _noise(h, w, 60, 5, rng)
    eosin *= 1 - 0.72 * clefts
    haematoxylin = np.full((h, w), 0.05, np.float32) + 0.04 * _noise(h, w, 90, 3, rng)
    stroma = section * (1 - 0.8 * clefts)

    glands = _place_glands(width, height, section, rng)
    for gland in glands:
        _lay_gland(gland, eosin, haematoxylin, stroma)

    crowding = _ramp(_noise(h, w, 130, 4, rng), -0.25, 0.75)
    ground = Ground(
        section=section,
        eosin=np.clip(eosin, 0.02, 1.2) * section,
        haematoxylin=np.clip(haematoxylin, 0, 1) * section,
        stroma=stroma,
        crowding=crowding,
    )
    return ground, glands


def _place_glands(width: int, height: int, section: Field, rng: np.random.Generator) -> list[Gland]:
    """Scatter glands over the section on a jittered hexagonal grid, leaving gaps."""
    glands: list[Gland] = []
    for row in range(height // GLAND_PITCH + 2):
        for column in range(width // GLAND_PITCH + 2):
            jitter = rng.uniform(-0.16, 0.16, 2) * GLAND_PITCH
            size = rng.uniform(0.30, 0.44, 2) * GLAND_PITCH
            angle, wobble, chance = rng.uniform(0, 1, 3) * (np.pi, 2 * np.pi, 1)
            x = (column + 0.5 * (row % 2)) * GLAND_PITCH + jitter[0]
            y = row * GLAND_PITCH * 0.9 + jitter[1]
            h, w = section.shape
            cx, cy = int(x) // COARSE, int(y) // COARSE
            reach = int(size.max()) // COARSE
            inside = reach <= cx < w - reach and reach <= cy < h - reach
            if inside and chance < 0.82:
                around = section[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1]
                if around.min() > 0.5:
                    glands.append(Gland(x, y, size[0], size[1], angle, wobble))
    return glands


def _lay_gland(gland: Gland, eosin: Field, haematoxylin: Field, stroma: Field) -> None:
    """Paint one gland in place: a pale rim, a lilac epithelium, a nearly empty lumen."""
    cx, cy = gland.x / COARSE, gland.y / COARSE
    reach = int(max(gland.radius_x, gland.radius_y) * 1.35 / COARSE) + 2
    top, left = max(0, int(cy) - reach), max(0, int(cx) - reach)
    box = (slice(top, int(cy) + reach + 1), slice(left, int(cx) + reach + 1))
    h, w = eosin[box].shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    dx, dy = (x + left - cx) * COARSE, (y + top - cy) * COARSE
    along = (dx * np.cos(gland.angle) + dy * np.sin(gland.angle)) / gland.radius_x
    across = (dy * np.cos(gland.angle) - dx * np.sin(gland.angle)) / gland.radius_y
    turn = np.arctan2(across, along)
    distance = (np.hypot(along, across) * (1 + 0.05 * np.sin(3 * turn + gland.wobble))).astype(
        np.float32
    )
    gland_area = 1 - _ramp(distance, 0.97, 1.06)
    lumen = 1 - _ramp(distance + 0.03 * np.sin(9 * turn + gland.wobble), 0.30, 0.38)
    goblet = 0.5 + 0.5 * np.sin(16 * turn + 5 * distance + gland.wobble)
    mucin = _ramp(goblet.astype(np.float32), 0.45, 0.95) * (1 - _ramp(distance, 0.62, 0.78))

    epithelium_eosin = 0.40 * (1 - 0.62 * mucin) * (1 - 0.90 * lumen)
    epithelium_haematoxylin = 0.16 * (1 - 0.55 * mucin) * (1 - 0.92 * lumen)
    rim = 1 - np.abs(distance - 1.12) / 0.10
    eosin[box] *= 1 - 0.55 * np.clip(rim, 0, 1)
    eosin[box] += (epithelium_eosin - eosin[box]) * gland_area
    haematoxylin[box] += (epithelium_haematoxylin - haematoxylin[box]) * gland_area
    stroma[box] *= _ramp(distance, 1.04, 1.16)


def _nucleus_stamps(
    length: float, breadth: float, depth: float, rng: np.random.Generator
) -> list[Field]:
    """Pictures of one kind of nucleus, STAMP_VARIANTS for each of STAMP_ANGLES directions.

    `length` and `breadth` are radii in pixels, `depth` the haematoxylin density.
    """
    reach = int(length * 1.3) + 2
    side = 2 * reach + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    stamps: list[Field] = []
    for step in range(STAMP_ANGLES):
        angle = np.pi * step / STAMP_ANGLES
        for _ in range(STAMP_VARIANTS):
            a, b = length * rng.uniform(0.85, 1.15), breadth * rng.uniform(0.85, 1.15)
            along = (x * np.cos(angle) + y * np.sin(angle)) / a
            across = (y * np.cos(angle) - x * np.sin(angle)) / b
            distance = np.hypot(along, across).astype(np.float32)
            chromatin = 0.78 + 0.16 * _ramp(distance, 0.5, 0.95)
            chromatin = chromatin + 0.30 * _noise(side, side, 3.5, 1, rng)
            body = 1 - _ramp(distance, 0.82, 1.12)
            stamps.append(np.clip(depth * rng.uniform(0.85, 1.1) * chromatin * body, 0, 1.3))
    return stamps


def _press(nuclei: Field, stamp: Field, x: float, y: float) -> None:
    """Press a stamp into the picture with its centre at (x, y), if it fits inside."""
    reach = stamp.shape[0] // 2
    top, left = int(y) - reach, int(x) - reach
    if top >= 0 and left >= 0:
        target = nuclei[top : top + stamp.shape[0], left : left + stamp.shape[1]]
        if target.shape == stamp.shape:
            np.maximum(target, stamp, out=target)


def _stamp_stroma(nuclei: Field, ground: Ground, rng: np.random.Generator) -> None:
    """Scatter round lymphocytes and slender fibroblasts over the stroma."""
    height, width = nuclei.shape
    rows, columns = height // NUCLEUS_PITCH, width // NUCLEUS_PITCH
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    jitter = rng.uniform(0.1, 0.9, (2, rows, columns)).astype(np.float32)
    xs = ((x + jitter[0]) * NUCLEUS_PITCH).ravel()
    ys = ((y + jitter[1]) * NUCLEUS_PITCH).ravel()
    cell = ((ys // COARSE).astype(np.intp), (xs // COARSE).astype(np.intp))
    crowding = ground.crowding[cell]
    chance = ground.stroma[cell] * (0.16 + 0.62 * crowding)
    round_ones = _nucleus_stamps(6.2, 5.6, 0.95, rng)
    slender_ones = _nucleus_stamps(11.0, 3.4, 0.80, rng)
    dice = rng.uniform(0, 1, (3, xs.size))
    for index in np.flatnonzero((dice[0] < chance) & (ground.stroma[cell] > 0.35)):
        kind = round_ones if dice[1, index] < 0.25 + 0.6 * crowding[index] else slender_ones
        stamp = kind[int(dice[2, index] * len(kind))]
        _press(nuclei, stamp, xs[index], ys[index])


def _stamp_epithelium(
    nuclei: Field, ground: Ground, glands: list[Gland], rng: np.random.Generator
) -> None:
    """Line every gland with oval nuclei that point at its lumen."""
    stamps = _nucleus_stamps(9.0, 5.2, 0.88, rng)
    for gland in glands:
        around = 2 * np.pi * np.sqrt((gland.radius_x**2 + gland.radius_y**2) / 2) * 0.86
        count = int(around / EPITHELIUM_PITCH)
        for turn in np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.02, count):
            depth = (0.84 + rng.normal(0, 0.035)) / (1 + 0.05 * np.sin(3 * turn + gland.wobble))
            dx, dy = np.cos(turn) * gland.radius_x * depth, np.sin(turn) * gland.radius_y * depth
            x = gland.x + dx * np.cos(gland.angle) - dy * np.sin(gland.angle)
            y = gland.y + dx * np.sin(gland.angle) + dy * np.cos(gland.angle)
            angle = np.arctan2(y - gland.y, x - gland.x) + rng.normal(0, 0.15)
            step = round(angle / np.pi * STAMP_ANGLES) % STAMP_ANGLES
            stamp = stamps[step * STAMP_VARIANTS + int(rng.integers(STAMP_VARIANTS))]
            _press(nuclei, stamp, x, y)


def _shine_through(ground: Ground, nuclei: Field, rng: np.random.Generator) -> Picture:
    """Turn the densities into the light that reaches the camera."""
    height, width = nuclei.shape
    # One square of fine grain, repeated; mirrored both ways first, so that it has no seams.
    side = 512
    grain = _noise(side // 2, side // 2, 7, 3, rng)
    grain = np.concatenate([grain, grain[::-1]], axis=0)
    grain = np.concatenate([grain, grain[:, ::-1]], axis=1)
    grain = np.tile(grain, (1, -(-width // side)))[:, :width]
    picture = np.empty((height, width, 3), np.uint8)
    strip = 32  # rows at a time: small enough for the processor's cache; divides `side`
    for top in range(0, height, strip):
        rows = slice(top, min(top + strip, height))
        texture = grain[top % side :][: rows.stop - rows.start]
        eosin, haematoxylin, section = (
            enlarge(field, height, width, rows)
            for field in (ground.eosin, ground.haematoxylin, ground.section)
        )
        eosin = eosin * (1 + 0.42 * texture) + 0.008 * section
        haematoxylin = np.maximum(haematoxylin * (1 + 0.5 * texture), nuclei[rows] * section)
        glass = 1 + 0.006 * texture
        for channel in range(3):
            density = EOSIN[channel] * eosin + HAEMATOXYLIN[channel] * haematoxylin
            light = LAMP[channel] * glass * np.exp(-density)
            picture[rows, :, channel] = np.clip(light + 0.5, 0, 255)
    return picture
