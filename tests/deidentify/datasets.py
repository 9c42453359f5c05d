"""Data sets made with pydicom, as dicomfs reads them and as pydicom reads them again."""

from __future__ import annotations

import io
import warnings

import pydicom
from pydicom import Dataset
from pydicom.filewriter import write_dataset

from dicomfs.dicom.confidentiality.deidentify import deidentify
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.dicom.confidentiality.writing import write_elements
from dicomfs.dicom.dataset import DataSet, read_elements
from dicomfs.dicom.encoding import Encoding

KEY = b"a key of the tests"
PROFILE = Profile(KEY)

IMPLICIT = Encoding(implicit_vr=True, big_endian=False)
LITTLE = Encoding(implicit_vr=False, big_endian=False)
BIG = Encoding(implicit_vr=False, big_endian=True)


def elements_of(ds: Dataset, encoding: Encoding = LITTLE) -> DataSet:
    """The elements of a data set as it would stand in a file."""
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian = not encoding.big_endian
    buffer.is_implicit_VR = encoding.implicit_vr
    with warnings.catch_warnings(action="ignore"):
        write_dataset(buffer, ds)
    return read_elements(buffer.getvalue(), encoding)


def hidden(ds: Dataset, profile: Profile = PROFILE, encoding: Encoding = LITTLE) -> Dataset:
    """A data set, de-identified and read again by pydicom."""
    result = deidentify(elements_of(ds, encoding), profile)
    data = write_elements(result, encoding)
    again = pydicom.filereader.read_dataset(
        io.BytesIO(data), is_implicit_VR=False, is_little_endian=not encoding.big_endian
    )
    return again


def patient(identifier: str = "MRN-4711", **others: object) -> Dataset:
    """A data set of a patient."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientID = identifier
    ds.PatientName = "Mustermann^Erika"
    for keyword, value in others.items():
        setattr(ds, keyword, value)
    return ds
