"""The command line of scripts/make_sample: paint a slide, write it, say what was written."""

import argparse
import re
import sys
from pathlib import Path

from sample_slide.glass import (
    GLASS_MM,
    LABEL_LEFT_MM,
    LABEL_PITCH_MM,
    LABEL_TOP_MM,
    OVERVIEW_PITCH_MM,
    paint_label,
    paint_overview,
)
from sample_slide.instances import Identity, Image, write_instance
from sample_slide.tissue import Picture, halve, paint_section

TILE = 256
PITCH_MM = 0.0005  # of level 0: 0.5 µm, as at an objective power of 20
CONTAINER = "DFS-0001"
SMALLEST, LARGEST = 256, 16384


def main() -> int:
    arguments = _parser().parse_args()
    width, height = arguments.size
    folder: Path = arguments.destination
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        print(f"make_sample: {folder} exists and is not an empty folder", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    seal = f"{width}x{height}, {arguments.levels} levels, seed {arguments.seed}"
    for image in _images(width, height, arguments.levels, arguments.seed):
        size = write_instance(folder, image, Identity(CONTAINER, seal), GLASS_MM)
        rows, columns = image.picture.shape[:2]
        path = folder / f"{image.name}.dcm"
        print(f"{path}  {image.flavour:9} {columns:6} × {rows:<6} {size:9,} bytes")
    return 0


def _images(width: int, height: int, levels: int, seed: int) -> list[Image]:
    """Paint everything the series shows: the levels, a thumbnail, the overview, the label."""
    pictures = [paint_section(width, height, seed)]
    while len(pictures) < levels:
        pictures.append(halve(pictures[-1]))
    thumbnail, halvings = halve(pictures[-1]), levels
    while max(thumbnail.shape) > TILE:
        thumbnail, halvings = halve(thumbnail), halvings + 1

    label = paint_label(CONTAINER)
    overview = paint_overview(thumbnail, width * PITCH_MM, height * PITCH_MM, label)

    def of_section(name: str, flavour: str, number: int, picture: Picture, factor: int) -> Image:
        return Image(
            name=name,
            flavour=flavour,
            number=number,
            picture=picture,
            pitch_mm=PITCH_MM * factor,
            corner_mm=(overview.section_left_mm, overview.section_top_mm),
            resampled=factor > 1,
            tile=TILE if flavour == "VOLUME" else None,
        )

    images = [
        of_section(f"level-{level}", "VOLUME", level + 1, picture, 2**level)
        for level, picture in enumerate(pictures)
    ]
    return [
        *images,
        of_section("thumbnail", "THUMBNAIL", levels + 1, thumbnail, 2**halvings),
        Image(
            name="overview",
            flavour="OVERVIEW",
            number=levels + 2,
            picture=overview.picture,
            pitch_mm=OVERVIEW_PITCH_MM,
            corner_mm=(0.0, 0.0),
        ),
        Image(
            name="label",
            flavour="LABEL",
            number=levels + 3,
            picture=label,
            pitch_mm=LABEL_PITCH_MM,
            corner_mm=(LABEL_LEFT_MM, LABEL_TOP_MM),
        ),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make_sample",
        description="Write a synthetic H&E slide as a DICOM Whole Slide Microscopy series: a"
        f" pyramid of JPEG tiles of {TILE} × {TILE} pixels, a thumbnail, an overview and a label."
        " The same options always give the same slide, with the same UIDs. It needs about 15 bytes"
        " of memory per pixel.",
    )
    parser.add_argument(
        "destination", metavar="DEST", type=Path, help="folder to write to; new or empty"
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=(4096, 3072),
        metavar="WIDTHxHEIGHT",
        help=f"pixels of the largest level, {SMALLEST} to {LARGEST} a side (4096x3072)",
    )
    parser.add_argument(
        "--levels",
        type=int,
        choices=range(1, 8),
        default=4,
        metavar="N",
        help="levels of the pyramid, 1 to 7, each half as large as the one before (4)",
    )
    parser.add_argument("--seed", type=int, default=1, help="another number, another slide (1)")
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, like 4096x3072")
    width, height = int(match[1]), int(match[2])
    if not all(SMALLEST <= side <= LARGEST for side in (width, height)):
        raise argparse.ArgumentTypeError(f"a side must be {SMALLEST} to {LARGEST} pixels")
    return width, height


if __name__ == "__main__":
    sys.exit(main())
