"""Paint the glass around the section: the printed label, and the overview of the whole slide.

Knows the size of a glass slide in mm; knows nothing of DICOM. The overview shows a ribbon of serial
sections at their true scale, one of which is the section that was scanned.
"""

from dataclasses import dataclass

import numpy as np

from sample_slide.tissue import Picture

GLASS_MM = (75.0, 25.0)  # width, height
LABEL_MM = (20.0, 20.0)
LABEL_LEFT_MM, LABEL_TOP_MM = 2.0, 2.5

OVERVIEW_PITCH_MM = 0.0625
LABEL_PITCH_MM = 0.05

PAPER = (250, 249, 244)
INK = (28, 28, 34)
BAND = (196, 64, 132)
TABLE = (196, 200, 204)
GLASS = (244, 243, 246)
RIM = (216, 220, 224)

# Five columns of seven pixels a letter, lowest bit at the top; only the letters that are printed.
GLYPHS = {
    "&": (0x36, 0x49, 0x55, 0x22, 0x50),
    "-": (0x08, 0x08, 0x08, 0x08, 0x08),
    "0": (0x3E, 0x51, 0x49, 0x45, 0x3E),
    "1": (0x00, 0x42, 0x7F, 0x40, 0x00),
    "A": (0x7E, 0x11, 0x11, 0x11, 0x7E),
    "C": (0x3E, 0x41, 0x41, 0x41, 0x22),
    "D": (0x7F, 0x41, 0x41, 0x22, 0x1C),
    "E": (0x7F, 0x49, 0x49, 0x49, 0x41),
    "F": (0x7F, 0x09, 0x09, 0x09, 0x01),
    "H": (0x7F, 0x08, 0x08, 0x08, 0x7F),
    "I": (0x00, 0x41, 0x7F, 0x41, 0x00),
    "L": (0x7F, 0x40, 0x40, 0x40, 0x40),
    "M": (0x7F, 0x02, 0x0C, 0x02, 0x7F),
    "N": (0x7F, 0x04, 0x08, 0x10, 0x7F),
    "P": (0x7F, 0x09, 0x09, 0x09, 0x06),
    "S": (0x46, 0x49, 0x49, 0x49, 0x31),
    "T": (0x01, 0x01, 0x7F, 0x01, 0x01),
    "Y": (0x07, 0x08, 0x70, 0x08, 0x07),
}


@dataclass(frozen=True, slots=True)
class Overview:
    """The picture of the whole glass, and where the scanned section lies on it."""

    picture: Picture
    section_left_mm: float
    section_top_mm: float


def paint_label(container: str) -> Picture:
    """Return the label as printed: the container identifier, the stain, a coloured band."""
    width, height = (round(side / LABEL_PITCH_MM) for side in LABEL_MM)
    label = np.full((height, width, 3), PAPER, np.uint8)
    label[24:64, 24:-24] = BAND
    _print_text(label, container, top=112, dot=7)
    _print_text(label, "H&E", top=196, dot=7)
    _print_text(label, "SYNTHETIC", top=296, dot=4)
    _print_text(label, "SAMPLE", top=340, dot=4)
    return label


def paint_overview(section: Picture, width_mm: float, height_mm: float, label: Picture) -> Overview:
    """Return the whole glass with the label and a ribbon of sections.

    `section` is a picture of the section in any resolution, `width_mm` and `height_mm` its true
    size. A section that is larger than the free glass is drawn smaller, as it has to fit.
    """
    free_left = LABEL_LEFT_MM + LABEL_MM[0] + 3
    free_width, free_height = GLASS_MM[0] - free_left - 3, GLASS_MM[1] - 4
    shrink = min(1.0, free_width / width_mm, free_height / height_mm)
    width, height = _pixels(width_mm * shrink), _pixels(height_mm * shrink)
    step = int(width * 1.3) + 1
    count = max(1, min(9, (_pixels(free_width) - width) // step + 1))
    left = _pixels(free_left + free_width / 2) - ((count - 1) * step + width) // 2
    top = _pixels(GLASS_MM[1] / 2) - height // 2
    scanned = count // 2

    picture = np.full((_pixels(GLASS_MM[1]), _pixels(GLASS_MM[0]), 3), TABLE, np.uint8)
    picture[4:-4, 4:-4] = RIM
    picture[8:-8, 8:-8] = GLASS
    _lay(picture, label, _pixels(LABEL_LEFT_MM), _pixels(LABEL_TOP_MM), *_label_pixels())
    for index in range(count):
        # The neighbours in a ribbon are alike but never the same.
        turned = section if (index - scanned) % 2 == 0 else section[::-1]
        _lay(picture, turned, left + index * step, top, width, height)
    return Overview(
        picture=picture,
        section_left_mm=(left + scanned * step) * OVERVIEW_PITCH_MM,
        section_top_mm=top * OVERVIEW_PITCH_MM,
    )


def _pixels(mm: float) -> int:
    return max(1, round(mm / OVERVIEW_PITCH_MM))


def _label_pixels() -> tuple[int, int]:
    return _pixels(LABEL_MM[0]), _pixels(LABEL_MM[1])


def _lay(target: Picture, picture: Picture, left: int, top: int, width: int, height: int) -> None:
    """Lay a picture on another, at (left, top), resampled to width × height by area means."""
    rows = np.arange(height + 1) * picture.shape[0] // height
    columns = np.arange(width + 1) * picture.shape[1] // width
    tall = np.add.reduceat(picture.astype(np.uint32), rows[:-1], axis=0)
    sums = np.add.reduceat(tall, columns[:-1], axis=1)
    areas = np.maximum(np.diff(rows), 1)[:, None] * np.maximum(np.diff(columns), 1)[None, :]
    target[top : top + height, left : left + width] = sums // areas[:, :, None]


def _print_text(target: Picture, text: str, top: int, dot: int) -> None:
    """Print one centred line; `dot` is the size of a pixel of the glyphs."""
    columns = [column for letter in text for column in (*GLYPHS[letter], 0)][:-1]
    bits = np.array([[column >> row & 1 for column in columns] for row in range(7)], bool)
    mask = np.kron(bits, np.ones((dot, dot), bool))
    left = (target.shape[1] - mask.shape[1]) // 2
    area = target[top : top + mask.shape[0], left : left + mask.shape[1]]
    area[mask] = INK
