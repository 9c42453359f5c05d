"""Which images of a series can show whose slide it is, and have no place in a de-identified mount.

The label and the overview show the label of the glass (PS3.3 C.8.12.4.1.1), so do images that say
that it is in them (Specimen Label in Image, C.8.12.4), that were made of such an image, or that
have words burned into their pixels (PS3.15 E.3.1: pixels would have to be changed).  Judges by what
data sets say; what somebody wrote on the glass beside its label is seen by nobody here.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomfs.dicom.instance import Instance
from dicomfs.errors import RejectedError

_NAMES = {
    "LABEL": ("label", "shows the label of the slide, which may name the patient"),
    "OVERVIEW": ("overview", "shows the whole glass with its label, which may name the patient"),
    "LOCALIZER": ("overview", "may show the whole glass with its label"),
}
_IN_IMAGE = ("label-in-image", "says that the label of the slide is in the image")
_BURNED_IN = ("burned-in-annotation", "says that there are words burned into its pixels")
_DERIVED = ("derived-from-label", "was made of an image that shows the label of the slide")
_SAME = ("same-as-label", "has the UID of an image that shows the label of the slide")


def leave_out(
    instances: Sequence[Instance],
) -> tuple[list[Instance], list[tuple[Instance, RejectedError]]]:
    """Split the instances of a series into those that may be shown, and the others with a reason.

    Where an image of the pyramid itself has to go, all of the pyramid goes with its thumbnail: the
    other levels show the same.
    """
    reasons: dict[int, tuple[str, str]] = {}
    for number, instance in enumerate(instances):
        reason = _own_reason(instance)
        if reason is not None:
            reasons[number] = reason
    telling = [reasons[n] for n in reasons if instances[n].header.flavour in ("VOLUME", "")]
    if telling:
        for number in range(len(instances)):
            reasons.setdefault(number, telling[0])
    showing = {instances[n].header.sop_instance_uid for n in reasons} - {""}
    for number, instance in enumerate(instances):
        if number in reasons:
            continue
        if instance.header.sop_instance_uid in showing:
            reasons[number] = _SAME
        elif not showing.isdisjoint(instance.header.derived_from):
            reasons[number] = _DERIVED
    kept = [one for number, one in enumerate(instances) if number not in reasons]
    gone = [(instances[n], RejectedError(*reasons[n])) for n in sorted(reasons)]
    return kept, gone


def _own_reason(instance: Instance) -> tuple[str, str] | None:
    header = instance.header
    for word in header.image_type[2:]:
        if word.upper() in _NAMES:
            return _NAMES[word.upper()]
    if header.burned_in:
        return _BURNED_IN
    return _IN_IMAGE if header.label_in_image else None
