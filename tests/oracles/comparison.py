"""One virtual file under one reader, against the truth of its series.

The one job: compare levels, pixels, resolution, objective and associated images, and say of each
difference whether a known limit of the reader explains it. Knows no directory tree and no output.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tests.oracles.dicom_series import Level, Series
from tests.oracles.dicom_slides import (
    AssembledLevel,
    AssemblyFailed,
    assemble_associated,
    assemble_level,
)
from tests.oracles.known_limits import Facts, What, explain, knows_objective, knows_planes
from tests.oracles.opened import (
    Difference,
    Opened,
    Pixels,
    Reader,
    ReaderFailed,
    difference,
    harmless,
)

_RELATIVE: Final = 1e-3
_MOST_CHOICES: Final = 16
_OTHER_REDUCTION: Final = 12.0
"""Mean difference that two ways of making a picture smaller stay below."""


@dataclass(slots=True)
class Row:
    """One line of the table; `wrong` holds what nothing explains, `explained` what a limit does."""

    subject: str
    levels: str = ""
    pixels: str = ""
    mpp: str = ""
    objective: str = ""
    wrong: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if self.wrong:
            return f"WRONG {'; '.join(self.wrong)}"
        return f"explained: {'; '.join(dict.fromkeys(self.explained))}" if self.explained else "ok"

    def fail(self, what: What, facts: Facts, text: str, mean: float | None = None) -> None:
        """Something is not as it should be; `mean` is that of a difference of pixels."""
        reason = explain(self.subject, what, facts, mean)
        if reason is None:
            self.wrong.append(f"{what}: {text}")
        else:
            self.explained.append(reason)


@dataclass(slots=True)
class Truth:
    """The levels of one pyramid, assembled when they are first asked for.

    Where a source holds several copies of an instance, or several instances for one place, a slide
    is right if it shows any of them.
    """

    levels: tuple[Level, ...]
    associated: Mapping[str, tuple[Pixels, ...]]
    _assembled: dict[tuple[Path, ...], AssembledLevel] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        return tuple(level.size for level in self.levels)

    @property
    def mpp(self) -> tuple[float, float] | None:
        spacing = self.levels[0].candidates[0][0].spacing_mm
        return None if spacing is None else (spacing[1] * 1000, spacing[0] * 1000)

    @property
    def objective(self) -> float | None:
        return self.levels[0].candidates[0][0].objective

    def candidates(self, size: tuple[int, int]) -> Iterator[AssembledLevel]:
        """Raises `AssemblyFailed` if there is not one."""
        level = next(level for level in self.levels if level.size == size)
        failures: list[str] = []
        for paths in choices(level):
            if paths not in self._assembled:
                try:
                    self._assembled[paths] = assemble_level(paths)
                except AssemblyFailed as error:
                    failures.append(str(error))
                    continue
            yield self._assembled[paths]
        if failures and not any(paths in self._assembled for paths in choices(level)):
            raise AssemblyFailed(failures[0])


def choices(level: Level) -> list[tuple[Path, ...]]:
    """All instances, with each choice among their copies; then each instance alone."""
    copies = [[copy.path for copy in one] for one in level.candidates]
    found = list(itertools.islice(itertools.product(*copies), _MOST_CHOICES))
    if len(copies) > 1:
        found += [(path,) for one in copies for path in one]
    return list(dict.fromkeys(found))


def truth_of(series: Series, first_size: tuple[int, int]) -> Truth | None:
    """The pyramid of the series that has a level of the size of the file's first image.

    A series without any volume is shown by its label or overview: each is a level then.
    """
    shown = series.levels
    if not shown:
        images = (one for found in series.associated.values() for one in found)
        shown = tuple(Level(one.matrix, one.sop_instance_uid, ((one,),)) for one in images)
    pyramids: dict[str, list[Level]] = {}
    for level in shown:
        pyramids.setdefault(level.pyramid_uid, []).append(level)
    for levels in pyramids.values():
        if first_size in [level.size for level in levels]:
            associated = {
                name: tuple(assemble_associated(one.path) for one in found)
                for name, found in series.associated.items()
                if series.levels
            }
            return Truth(tuple(levels), associated)
    return None


# ------------------------------------------------------------------ the comparison


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _RELATIVE * max(abs(one), abs(other))


def _distance(one: Difference) -> tuple[bool, int, float, str]:
    """How far from exact; nothing comparable is farthest of all."""
    return one.maximum is None, one.maximum or 0, one.mean, one.note


def _level_difference(
    opened: Opened, index: int, level: AssembledLevel, facts: Facts
) -> Difference:
    """Over all planes; over the first for a reader that knows no planes.

    Only OME-TIFF holds several: the other flavours are right if they show any one of them.
    """
    planes = [
        (number, plane, level.matrices[channel, plane], level.covered[channel, plane])
        for number, channel in enumerate(level.channels)
        for plane in range(level.focal_planes)
        if (channel, plane) in level.matrices
    ]
    if facts.flavour != "ome":
        seen = opened.read(index)
        found = [difference(seen, truth, covered) for _, _, truth, covered in planes]
        return min(found, key=_distance)
    if not knows_planes(opened.reader):
        planes = planes[:1]
    return max(
        (
            difference(opened.read(index, number, plane), truth, covered)
            for number, plane, truth, covered in planes
        ),
        key=_distance,
    )


def _compare_pixels(row: Row, opened: Opened, truth: Truth, facts: Facts) -> None:
    worst: list[Difference] = []
    for index, size in enumerate(opened.levels):
        if size not in truth.sizes:
            row.fail("extra", facts, f"{size} is no level of the slide")
            continue
        best: Difference | None = None
        try:
            for level in truth.candidates(size):
                found = _level_difference(opened, index, level, facts)
                best = found if best is None else min(best, found, key=_distance)
                if best.exact:
                    break
        except ReaderFailed as error:
            row.fail("pixels", facts, f"level {index}: {error}")
            worst.append(Difference(None, note="error"))
            continue
        if best is None:
            continue
        worst.append(best)
        if not best.exact:
            row.fail("pixels", facts, f"level {index}: {best}", best.mean)
    row.pixels = str(max(worst, key=_distance)) if worst else "-"
    missing = [size for size in truth.sizes if size not in opened.levels]
    row.levels = f"{len(truth.sizes) - len(missing)}/{len(truth.sizes)}"
    if missing:
        row.fail("levels", facts, f"not seen: {missing}")


def _compare_planes(row: Row, opened: Opened, truth: Truth, facts: Facts) -> None:
    # Of conflicting instances the first choice tells the number of planes.
    level = next(truth.candidates(truth.sizes[0]))
    several = facts.flavour == "ome"
    expected = (len(level.channels), level.focal_planes) if several else (1, 1)
    seen = (len(opened.channels), opened.focal_planes)
    if seen != expected:
        text = f"{seen[0]} channels of {seen[1]} planes for {expected[0]} of {expected[1]}"
        row.fail("planes", facts, text)


def _compare_scale(
    row: Row, opened: Opened, mpp: tuple[float, float] | None, objective: float | None, facts: Facts
) -> None:
    if opened.mpp is not None:
        row.mpp = f"{opened.mpp[0]:.4f} {opened.mpp[1]:.4f}"
    if mpp is not None:
        # Aperio's description has room for one value.
        mean = sum(mpp) / 2
        accepted = [mpp, (mean, mean)] if facts.flavour == "svs" else [mpp]
        right = opened.mpp is not None and any(
            _close(opened.mpp[0], x) and _close(opened.mpp[1], y) for x, y in accepted
        )
        if not right:
            row.fail("mpp", facts, f"{opened.mpp} for {mpp}")
    if opened.objective is not None:
        row.objective = f"{opened.objective:g}"
    if knows_objective(opened.reader, facts.flavour) and opened.objective != objective:
        row.fail("objective", facts, f"{opened.objective} for {objective}")


def kind_of(name: str) -> str | None:
    """The names readers give: "label image", "macro", "overview", "thumbnail"."""
    words = {"label": "label", "macro": "macro", "overview": "macro", "thumb": "thumbnail"}
    return next((kind for word, kind in words.items() if word in name.lower()), None)


def _made_smaller(seen: Pixels, truth: Pixels) -> bool:
    """A thumbnail may be reduced: Bio-Formats takes the smallest page of an SVS for it."""
    height, width = seen.shape[:2]
    alike = abs(truth.shape[1] * height - truth.shape[0] * width) <= 2 * max(truth.shape[:2])
    if height >= truth.shape[0] or not alike or seen.shape[2:] != truth.shape[2:]:
        return False
    reduced = Image.fromarray(truth).resize((width, height), Image.Resampling.BOX)
    return difference(seen, np.asarray(reduced)).mean < _OTHER_REDUCTION


def _compare_associated(row: Row, opened: Opened, truth: Truth, facts: Facts) -> None:
    kinds = {kind: name for name in opened.associated if (kind := kind_of(name)) is not None}
    for kind, accepted in truth.associated.items():
        if kind not in kinds:
            # The layout promises label and macro to OpenSlide; other names are as readers like.
            if opened.reader == "openslide" and facts.flavour == "svs":
                row.fail("associated", facts, f"no {kind}")
            continue
        try:
            seen = opened.associated[kinds[kind]]
        except ReaderFailed as error:
            row.fail("associated", facts, f"{kind}: {error}")
            continue
        found = [difference(seen, image) for image in accepted]
        if kind == "thumbnail" and any(_made_smaller(seen, image) for image in accepted):
            row.explained.append("thumbnail made smaller")
        elif not any(one.exact for one in found):
            row.fail("associated", facts, f"{kind}: {found[0]}", found[0].mean)


def compare_file(
    path: Path, reader: Reader, truth: Truth, facts: Facts, on_dicom: Opened | None
) -> Row:
    """Everything one reader says of one virtual file; `on_dicom` is OpenSlide on the source."""
    row = Row(reader.name)
    try:
        opened = reader.open(path)
    except ReaderFailed as error:
        row.fail("open", facts, str(error))
        row.pixels = "refused"
        return row
    for warning in dict.fromkeys(opened.warnings):
        if harmless(warning):
            row.explained.append("warns of what it does right")
        else:
            row.wrong.append(f"warning: {warning}")
    try:
        _compare_planes(row, opened, truth, facts)
        _compare_pixels(row, opened, truth, facts)
    except AssemblyFailed as error:
        row.wrong.append(f"no truth: {error}")
    _compare_scale(row, opened, truth.mpp, truth.objective, facts)
    _compare_associated(row, opened, truth, facts)
    if on_dicom is not None and reader.name == "openslide":
        if set(opened.levels) != set(on_dicom.levels):
            text = f"{opened.levels} for {on_dicom.levels} on the .dcm"
            row.fail("levels", facts, text)
        _compare_scale(row, opened, on_dicom.mpp, on_dicom.objective, facts)
    return row
