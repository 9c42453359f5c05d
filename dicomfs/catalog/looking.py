"""Looks at an object: is it an instance of a slide, and what are its facts?

One bad file never harms its neighbours: whatever goes wrong with it becomes a rejection.
"""

from __future__ import annotations

import logging

from dicomfs.catalog.catalogue import Rejection
from dicomfs.catalog.codec import encode
from dicomfs.catalog.findings import AGAIN, Finding, Inflated, What, stranger_group
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.dicom.instance import Instance, Stranger
from dicomfs.dicom.read import read_instance
from dicomfs.errors import (
    DeflatedDataSetError,
    DicomfsError,
    Fault,
    NotDicomError,
    RejectedError,
    SourceError,
)
from dicomfs.limits import Limits
from dicomfs.source.protocol import ScannableSource, SourceObject

log = logging.getLogger(__name__)


def look_at(
    source: ScannableSource, obj: SourceObject, limits: Limits, profile: Profile | None = None
) -> Finding:
    """Find out what an object is.  Blocks; raises nothing.

    profile : how to de-identify it; None for not at all
    """
    try:
        try:
            facts = source.run(obj, read_instance(obj.identity.size, limits, profile=profile))
            return _finding(obj, facts, None)
        except DeflatedDataSetError as error:
            plain = source.inflated(obj, error.offset, error.inflated_size)
            size = plain.identity.size
            steps = read_instance(size, limits, inflated=True, profile=profile)
            inflated = Inflated(error.offset, error.inflated_size)
            return _finding(obj, source.run(plain, steps), inflated)
    except NotDicomError:
        return Finding(What.NOT_DICOM, "", b"")
    except RejectedError as error:
        return rejected(obj, error.code, str(error))
    except SourceError as error:
        return rejected(obj, "unreadable", str(error), AGAIN)
    except DicomfsError as error:
        return rejected(
            obj, "unreadable" if error.fault is Fault.SOURCE else "internal", str(error)
        )
    except Exception as error:
        if profile is None:
            log.exception("%s made the parser fail", obj.key)
        else:  # what an error says may be what the object says
            log.error("%s made the parser fail with %s", obj.key, type(error).__name__)
        return rejected(obj, "internal", "could not be parsed")


def rejected(obj: SourceObject, code: str, message: str, group: str = "") -> Finding:
    """The finding of an object that cannot be shown; group as in `Finding`."""
    record, shared = encode(Rejection("", code, message, (obj.key,)), Rejection)
    return Finding(What.REJECTED, group, record, tuple(shared.items()))


def _finding(obj: SourceObject, facts: Instance | Stranger, inflated: Inflated | None) -> Finding:
    header = facts.header
    if isinstance(facts, Stranger):
        group = stranger_group(
            header.series_instance_uid,
            header.study_instance_uid,
            header.modality,
            header.sop_class_uid,
        )
        return Finding(What.STRANGER, group, b"")
    # Files without a Series Instance UID belong together where they lie together.
    folder = obj.key.rpartition("/")[0]
    series = header.series_instance_uid or f"folder {folder}"
    record, shared = encode(facts, Instance)
    return Finding(What.INSTANCE, series, record, tuple(shared.items()), inflated)
