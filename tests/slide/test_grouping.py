"""What the instances of a series are: roles, concatenations, duplicates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dicomfs.dicom.instance import Instance
from dicomfs.slide.grouping import sort_by_role
from tests.slide.instances import changed, codes, small


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    """The three parts of a concatenation."""
    return small(tmp_path_factory.mktemp("parts"), parts=3, downsamples=(1,))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    (instance,) = small(tmp_path_factory.mktemp("image"), downsamples=(1,))
    return instance


def named(image: Instance, flavour: str, uid: str) -> Instance:
    kind = ("ORIGINAL", "PRIMARY", flavour, "NONE") if flavour else ()
    return changed(image, image_type=kind, sop_instance_uid=uid)


def test_roles_go_by_the_third_value_of_image_type(image: Instance) -> None:
    kinds = ["VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL", "volume", "Label", ""]
    roles = sort_by_role([named(image, kind, str(n)) for n, kind in enumerate(kinds)])
    assert [source.members for source in roles.volumes] == [(0,), (4,), (6,)]
    associated = {kind: [s.members for s in found] for kind, found in roles.associated.items()}
    assert associated == {"label": [(1,), (5,)], "overview": [(2,)], "thumbnail": [(3,)]}
    assert codes(roles.notes) == ["no-image-type"]


def test_other_values_of_image_type_decide_nothing(image: Instance) -> None:
    odd = changed(image, image_type=("DERIVED", "SECONDARY", "VOLUME", "RESAMPLED"))
    assert len(sort_by_role([odd]).volumes) == 1


def test_unknown_kinds_of_images_are_left_out(image: Instance) -> None:
    roles = sort_by_role([named(image, "REGIONLOCALIZER", "1"), named(image, "VOLUME", "2")])
    assert [source.members for source in roles.volumes] == [(1,)]
    assert codes(roles.notes) == ["unknown-flavour"]
    assert "REGIONLOCALIZER" in roles.notes[0].message


def test_single_image_classes_know_no_roles(image: Instance) -> None:
    photograph = changed(
        image,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.77.1.2",
        image_type=("DERIVED", "PRIMARY", "LABEL"),
    )
    assert len(sort_by_role([photograph]).volumes) == 1


def test_a_duplicate_is_dropped_with_a_note(image: Instance) -> None:
    roles = sort_by_role([image, image, image])
    assert [source.members for source in roles.volumes] == [(0,)]
    assert codes(roles.notes) == ["duplicate"]
    assert image.header.sop_instance_uid in roles.notes[0].message


def test_instances_without_a_uid_are_no_duplicates(image: Instance) -> None:
    nameless = changed(image, sop_instance_uid="")
    assert len(sort_by_role([nameless, nameless]).volumes) == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_parts_are_joined_in_their_order(parts: list[Instance], order: tuple[int, ...]) -> None:
    shuffled = [parts[index] for index in order]
    (source,) = sort_by_role(shuffled).volumes
    assert [shuffled[member] for member in source.members] == parts
    assert source.problem == ""


@pytest.mark.parametrize(("missing", "listed"), [(0, "1"), (1, "2"), (2, "3")])
def test_a_missing_part_is_a_problem(parts: list[Instance], missing: int, listed: str) -> None:
    rest = [part for number, part in enumerate(parts) if number != missing]
    (source,) = sort_by_role(rest).volumes
    assert source.problem == f"part {listed} of 3 of a concatenation is missing"


def test_the_total_number_of_parts_is_optional(parts: list[Instance]) -> None:
    """(0020,9163) is type 3: a gap shows all the same, a missing last part does not."""
    unnumbered = [
        changed(part, concatenation=dataclasses.replace(part.header.concatenation, total=0))
        for part in parts
        if part.header.concatenation is not None
    ]
    assert sort_by_role(unnumbered).volumes[0].problem == ""
    assert "part 2 of 3" in sort_by_role([unnumbered[0], unnumbered[2]]).volumes[0].problem


def test_two_files_for_one_part_are_a_problem(parts: list[Instance]) -> None:
    again = changed(parts[1], sop_instance_uid="2.25.7")
    (source,) = sort_by_role([*parts, again]).volumes
    assert "same part" in source.problem


def test_a_duplicate_of_a_part_is_dropped_before(parts: list[Instance]) -> None:
    roles = sort_by_role([*parts, parts[1]])
    assert roles.volumes[0].members == (0, 1, 2)
    assert roles.volumes[0].problem == ""
    assert codes(roles.notes) == ["duplicate"]


def test_images_keep_the_order_of_their_files(image: Instance, parts: list[Instance]) -> None:
    one, two = named(image, "VOLUME", "1"), named(image, "VOLUME", "2")
    roles = sort_by_role([one, *parts, two])
    assert [source.members for source in roles.volumes] == [(0,), (1, 2, 3), (4,)]


def test_a_concatenation_of_one_part(tmp_path: Path) -> None:
    (source,) = sort_by_role(small(tmp_path, parts=1, downsamples=(1,))).volumes
    assert (source.members, source.problem) == ((0,), "")
