"""Write pictures as the instances of one DICOM WSM series.

Implements the VL Whole Slide Microscopy Image IOD (PS3.3 A.32.8) as a careful scanner would: JPEG
baseline in 4:2:2, TILED_FULL (PS3.3 C.7.6.17.3), a Basic Offset Table (PS3.5 A.4), one optical
path with an ICC profile, one specimen with its staining. All UIDs come from hashes: the same slide
always has the same ones.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from sample_slide.tissue import Picture

JPEG_QUALITY = 85
SECTION_THICKNESS_MM = 0.004
OBJECTIVE_POWER = 20
TAKEN = "20240115093000"

Code = tuple[str, str, str]  # value, scheme, meaning

BRIGHTFIELD: Code = ("111744", "DCM", "Brightfield illumination")
FULL_SPECTRUM: Code = ("414298005", "SCT", "Full Spectrum")
MICROSCOPE_SLIDE: Code = ("433466003", "SCT", "Microscope slide")
COLON: Code = ("71854001", "SCT", "Colon")
PROCESSING_TYPE: Code = ("111701", "DCM", "Processing type")
STAINING: Code = ("127790008", "SCT", "Staining")
USING_SUBSTANCE: Code = ("424361007", "SCT", "Using substance")
HAEMATOXYLIN: Code = ("12710003", "SCT", "hematoxylin stain")
EOSIN: Code = ("36879007", "SCT", "water soluble eosin stain")


@dataclass(frozen=True, slots=True)
class Identity:
    """What all instances of one slide share. `seal` is the text its UIDs are derived from."""

    container: str
    seal: str

    def uid(self, name: str) -> UID:
        """Return the UID called `name`: 2.25 and a UUID (PS3.5 B.2) made from a hash."""
        digest = bytearray(hashlib.sha256(f"{self.seal}/{name}".encode()).digest()[:16])
        digest[6] = digest[6] & 0x0F | 0x80  # version 8: made by the application
        digest[8] = digest[8] & 0x3F | 0x80
        return UID(f"2.25.{int.from_bytes(digest, 'big')}")


@dataclass(frozen=True, slots=True)
class Image:
    """One picture of the slide, to become one instance.

    `pitch_mm` is the distance between pixels, in both directions. `corner_mm` is the outer corner
    of the first pixel, from the left and from the top of the glass as the overview shows it.
    """

    name: str
    flavour: str  # VOLUME, THUMBNAIL, LABEL, OVERVIEW: Image Type value 3
    number: int  # Instance Number, from 1
    picture: Picture
    pitch_mm: float
    corner_mm: tuple[float, float]
    resampled: bool = False
    tile: int | None = None  # side of the square tiles; None: the picture is one frame


def write_instance(
    folder: Path, image: Image, identity: Identity, glass_mm: tuple[float, float]
) -> int:
    """Write `<name>.dcm` into the folder and return its size in bytes."""
    frames = [_jpeg(tile) for tile in _tiles(image)]
    dataset = Dataset()
    _describe_study(dataset, image, identity)
    _describe_equipment(dataset)
    _describe_image(dataset, image, identity, glass_mm)
    _describe_pixels(dataset, image, frames)
    _describe_specimen(dataset, identity)
    dataset.OpticalPathSequence = Sequence([_optical_path()])
    dataset.PixelData = encapsulate(frames, has_bot=True)
    dataset["PixelData"].VR = "OB"

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.ImplementationClassUID = Identity("", "dicomfs sample slide").uid("implementation")
    meta.ImplementationVersionName = "DICOMFS_SAMPLE"
    dataset.file_meta = meta
    path = folder / f"{image.name}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path.stat().st_size


def input_profile() -> bytes:
    """Return an sRGB profile of the class WSM asks for (PS3.3 C.11.15.1.1): Input Device."""
    profile = bytearray(imagecodecs.cms_profile("srgb"))
    profile[12:16] = b"scnr"
    # Not the moment of this run, but a fixed one: year, month, day, hour, minute, second.
    profile[24:36] = struct.pack(">6H", 2024, 1, 15, 9, 30, 0)
    profile[84:100] = bytes(16)  # no profile ID: it would be that of the original
    return bytes(profile)


def _tiles(image: Image) -> Iterator[Picture]:
    """Cut the picture into tiles, rows first; tiles at the edges are filled up with bare glass."""
    height, width = image.picture.shape[:2]
    rows, columns = (image.tile, image.tile) if image.tile else (height, width)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            piece = image.picture[top : top + rows, left : left + columns]
            if piece.shape[:2] != (rows, columns):
                full = np.full((rows, columns, 3), 244, np.uint8)
                full[: piece.shape[0], : piece.shape[1]] = piece
                piece = full
            yield np.ascontiguousarray(piece)


def _jpeg(tile: Picture) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(tile, level=JPEG_QUALITY, subsampling="422"))


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def _describe_study(dataset: Dataset, image: Image, identity: Identity) -> None:
    """Patient, Study, Series, Frame of Reference and SOP Common modules."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    dataset.SOPInstanceUID = identity.uid(image.name)
    dataset.PatientName = "Sample^Synthetic"
    dataset.PatientID = "DICOMFS-SAMPLE"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = identity.uid("study")
    dataset.StudyDate, dataset.StudyTime = TAKEN[:8], TAKEN[8:]
    dataset.StudyID = "1"
    dataset.StudyDescription = "Synthetic slide"
    dataset.AccessionNumber = identity.container
    dataset.ReferringPhysicianName = ""
    dataset.Modality = "SM"
    dataset.SeriesInstanceUID = identity.uid("series")
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = "H&E"
    dataset.FrameOfReferenceUID = identity.uid("frame of reference")
    dataset.PositionReferenceIndicator = "SLIDE_CORNER"
    dataset.InstanceNumber = image.number
    dataset.ContentDate, dataset.ContentTime = TAKEN[:8], TAKEN[8:]
    dataset.AcquisitionDateTime = TAKEN
    dataset.AcquisitionContextSequence = Sequence()


def _describe_equipment(dataset: Dataset) -> None:
    dataset.Manufacturer = "dicomfs"
    dataset.ManufacturerModelName = "Synthetic Scanner"
    dataset.DeviceSerialNumber = "0001"
    dataset.SoftwareVersions = "1"


def _describe_image(
    dataset: Dataset, image: Image, identity: Identity, glass_mm: tuple[float, float]
) -> None:
    """Multi-frame, Tile Organization and WSM Image modules, and the Pyramid module of levels."""
    height, width = image.picture.shape[:2]
    derived = ["DERIVED", "PRIMARY", image.flavour, "RESAMPLED"]
    dataset.ImageType = derived if image.resampled else ["ORIGINAL", *derived[1:3], "NONE"]
    dataset.VolumetricProperties = "VOLUME"
    dataset.ImagedVolumeWidth = width * image.pitch_mm
    dataset.ImagedVolumeHeight = height * image.pitch_mm
    dataset.ImagedVolumeDepth = SECTION_THICKNESS_MM * 1000  # µm, the others mm
    dataset.TotalPixelMatrixColumns = width
    dataset.TotalPixelMatrixRows = height
    dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.NumberOfOpticalPaths = 1

    # Along a row towards the bottom end of the glass (-Y), along a column towards -X: the label is
    # on the left of the pictures. The origin is the centre of the first pixel.
    left_mm, top_mm = (edge + image.pitch_mm / 2 for edge in image.corner_mm)
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = f"{glass_mm[1] - top_mm:.6f}"
    origin.YOffsetInSlideCoordinateSystem = f"{glass_mm[0] - left_mm:.6f}"
    dataset.TotalPixelMatrixOriginSequence = Sequence([origin])
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]

    dataset.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = identity.uid(f"dimensions of {image.name}")
    dataset.DimensionOrganizationSequence = Sequence([organization])

    measures = Dataset()
    measures.PixelSpacing = [f"{image.pitch_mm:.9g}"] * 2
    measures.SliceThickness = SECTION_THICKNESS_MM
    frame_type = Dataset()
    frame_type.FrameType = dataset.ImageType
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([frame_type])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])

    with_label = image.flavour in ("LABEL", "OVERVIEW")
    dataset.SpecimenLabelInImage = "YES" if with_label else "NO"
    dataset.BurnedInAnnotation = "YES" if with_label else "NO"
    dataset.FocusMethod = "AUTO"
    dataset.ExtendedDepthOfField = "NO"
    if image.flavour in ("VOLUME", "THUMBNAIL"):
        dataset.PyramidUID = identity.uid("pyramid")
    if image.flavour == "LABEL":
        dataset.LabelText = f"{identity.container} H&E"
        dataset.BarcodeValue = identity.container


def _describe_pixels(dataset: Dataset, image: Image, frames: list[bytes]) -> None:
    """Image Pixel module, and what the compression did."""
    height, width = image.picture.shape[:2]
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = (image.tile, image.tile) if image.tile else (height, width)
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    raw = len(frames) * dataset.Rows * dataset.Columns * 3
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = f"{raw / sum(map(len, frames)):.2f}"
    dataset.LossyImageCompressionMethod = "ISO_10918_1"


def _describe_specimen(dataset: Dataset, identity: Identity) -> None:
    """Specimen module: the glass, the section on it and how it was stained."""
    dataset.ContainerIdentifier = identity.container
    dataset.IssuerOfTheContainerIdentifierSequence = Sequence()
    dataset.ContainerTypeCodeSequence = Sequence([_code(MICROSCOPE_SLIDE)])

    contents = [_content(PROCESSING_TYPE, STAINING)]
    contents += [_content(USING_SUBSTANCE, stain) for stain in (HAEMATOXYLIN, EOSIN)]
    staining = Dataset()
    staining.SpecimenPreparationStepContentItemSequence = Sequence(contents)

    specimen = Dataset()
    specimen.SpecimenIdentifier = f"{identity.container}-A"
    specimen.SpecimenUID = identity.uid("specimen")
    specimen.IssuerOfTheSpecimenIdentifierSequence = Sequence()
    specimen.SpecimenShortDescription = "Synthetic mucosa"
    specimen.PrimaryAnatomicStructureSequence = Sequence([_code(COLON)])
    specimen.SpecimenPreparationSequence = Sequence([staining])
    dataset.SpecimenDescriptionSequence = Sequence([specimen])


def _content(concept: Code, value: Code) -> Dataset:
    """Return a content item with a coded name and a coded value (PS3.3 C.17.3)."""
    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = Sequence([_code(concept)])
    item.ConceptCodeSequence = Sequence([_code(value)])
    return item


def _optical_path() -> Dataset:
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.OpticalPathDescription = "Brightfield"
    path.IlluminationTypeCodeSequence = Sequence([_code(BRIGHTFIELD)])
    path.IlluminationColorCodeSequence = Sequence([_code(FULL_SPECTRUM)])
    path.ObjectiveLensPower = OBJECTIVE_POWER
    path.ObjectiveLensNumericalAperture = "0.75"
    path.ICCProfile = input_profile()
    path.ColorSpace = "SRGB"
    return path
