"""The header of an instance: what its data set says, checked and in plain types.

Reads the bounded bytes before Pixel Data, without the per-frame functional groups
(PS3.3 A.32.8, C.8.12.4, C.8.12.5, C.8.12.14, C.7.6.16, C.7.6.17).  Missing attributes become a
neutral value here; what they mean for a slide is decided in `dicomfs.slide`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from dicomfs.dicom.attributes import Attributes, read_once
from dicomfs.dicom.dataset import DataSet, read_elements
from dicomfs.dicom.description import Description, read_description
from dicomfs.dicom.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Light:
    """How an optical path is illuminated and filtered, in words: PS3.3 C.8.12.5, C.8.17.2.1.3.

    methods : meanings of the Illumination Type codes (0022,0016)
    colour : meaning of the Illumination Color code (0048,0108)
    illuminator : meaning of the Illuminator Type code (0048,0100)
    lenses : (0022,0019); channels : (0022,001A)
    condenser_power : (0048,0111)
    light_filters, image_filters : (0022,0017), (0022,0018)
    light_pass_nm, image_pass_nm : Filter Pass-Through Wavelength (0022,0001), (0022,0003)
    light_band_nm, image_band_nm : both ends of the Filter Pass Band (0022,0002), (0022,0004)
    """

    RECURS: ClassVar = True  # all slides of a scanner have the same

    methods: tuple[str, ...] = ()
    colour: str = ""
    illuminator: str = ""
    lenses: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    condenser_power: float | None = None
    light_filters: tuple[str, ...] = ()
    image_filters: tuple[str, ...] = ()
    light_pass_nm: float | None = None
    image_pass_nm: float | None = None
    light_band_nm: tuple[float, float] | None = None
    image_band_nm: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class OpticalPath:
    """An item of the Optical Path Sequence (0048,0105), PS3.3 C.8.12.5.

    wavelength_nm : Illumination Wave Length (0022,0055), nanometres, None where absent
    objective_power : (0048,0112); numerical_aperture : (0048,0113)
    icc_profile : (0028,2000), None where absent
    """

    identifier: str
    description: str
    wavelength_nm: float | None
    illumination: str
    objective_power: float | None
    numerical_aperture: float | None
    icc_profile: bytes | None = field(repr=False)
    light: Light = Light()


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Which part of a concatenation an instance is, PS3.3 C.7.6.16.2.2.4.

    number : In-concatenation Number (0020,9162), from 1
    total : (0020,9163), 0 where absent
    frame_offset : Concatenation Frame Offset Number (0020,9228), from 0
    """

    uid: str
    number: int
    total: int
    frame_offset: int


@dataclass(frozen=True, slots=True)
class PixelMeasures:
    """Pixel Measures (0028,9110), millimetres.

    spacing : (row spacing, column spacing), the order of Pixel Spacing (0028,0030)
    between_planes : Spacing Between Slices (0018,0088)
    """

    spacing: tuple[float, float] | None
    between_planes: float | None


@dataclass(frozen=True, slots=True)
class SharedPosition:
    """Plane position that all frames share; column and row 1-based, 0 where absent; z in µm."""

    column: int
    row: int
    z_um: float | None
    path_identifier: str


@dataclass(frozen=True, slots=True)
class Palette:
    """The palette colour lookup table, PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6.

    first : the sample value that the first entry stands for; smaller values have it too
    colours : red, green and blue of each entry, 8 bit, interleaved
    """

    first: int
    colours: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Header:
    """What the data set of an instance says.  Sizes are in pixels; 0 or "" where absent.

    absent : keywords of the attributes which the IOD requires and which have no value here
    burned_in : Burned In Annotation (0028,0301); label_in_image : Specimen Label in Image
        (0048,0010); derived_from : SOP Instance UIDs of the Source Image Sequence (0008,2112)
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric_interpretation: str
    planar: bool
    palette: Palette | None
    number_of_frames: int
    total_columns: int
    total_rows: int
    dimension_organization: str
    focal_planes: int
    optical_paths: tuple[OpticalPath, ...]
    optical_path_count: int
    measures: PixelMeasures
    shared: SharedPosition
    origin_mm: tuple[float, float] | None
    origin_z_um: float | None
    orientation: tuple[float, ...]
    frame_of_reference_uid: str
    pyramid_uid: str
    acquisition_uid: str
    concatenation: Concatenation | None
    extended_depth_of_field: bool
    absent_pixel_cielab: tuple[int, int, int] | None
    lossy: bool
    absent: tuple[str, ...]
    description: Description
    burned_in: bool = False
    label_in_image: bool = False
    derived_from: tuple[str, ...] = ()
    lossy_ratio: float | None = None

    @property
    def flavour(self) -> str:
        """Image Type value 3: VOLUME, THUMBNAIL, LABEL, OVERVIEW, or a word of the writer's own."""
        return self.image_type[2].upper() if len(self.image_type) > 2 else ""

    @property
    def z_um(self) -> float:
        """z of the lowest focal plane in micrometres, 0 where nothing says."""
        return self.shared.z_um or self.origin_z_um or 0.0

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        return self.rows * self.columns * self.samples_per_pixel * (self.bits_allocated // 8)


def parse_header(data: bytes, encoding: Encoding, first_item: bytes) -> Header:
    """Parse the bytes of a data set up to its Pixel Data.

    first_item : the data set of the first per-frame item, b"" where there is none; it stands in
        for functional groups that ought to be shared.

    Raises MalformedDicomError where the bytes cannot be followed.
    """
    dataset = read_elements(data, encoding)
    measures = measures_of(dataset, read_elements(first_item, encoding))
    return replace(header_of(dataset, encoding), measures=measures)


def header_of(dataset: DataSet, encoding: Encoding) -> Header:
    """The header that elements make, where there are no per-frame items; see `parse_header`."""
    top = Attributes(dataset)
    shared = top.item("SharedFunctionalGroupsSequence")
    return Header(
        sop_class_uid=top.text("SOPClassUID"),
        sop_instance_uid=top.text("SOPInstanceUID"),
        series_instance_uid=top.text("SeriesInstanceUID"),
        study_instance_uid=top.text("StudyInstanceUID"),
        modality=top.text("Modality"),
        image_type=top.texts("ImageType"),
        rows=top.integer("Rows"),
        columns=top.integer("Columns"),
        samples_per_pixel=top.integer("SamplesPerPixel", 1),
        bits_allocated=top.integer("BitsAllocated", 8),
        bits_stored=top.integer("BitsStored") or top.integer("BitsAllocated", 8),
        signed=top.integer("PixelRepresentation") == 1,
        photometric_interpretation=top.text("PhotometricInterpretation").upper(),
        planar=top.integer("PlanarConfiguration") == 1,
        palette=_palette(top, encoding),
        number_of_frames=max(1, top.integer("NumberOfFrames", 1)),
        total_columns=top.integer("TotalPixelMatrixColumns"),
        total_rows=top.integer("TotalPixelMatrixRows"),
        dimension_organization=top.text("DimensionOrganizationType").upper(),
        focal_planes=max(1, top.integer("TotalPixelMatrixFocalPlanes", 1)),
        optical_paths=_optical_paths(top),
        optical_path_count=top.integer("NumberOfOpticalPaths"),
        measures=measures_of(dataset, {}),
        shared=_position(shared),
        origin_mm=_origin(top),
        origin_z_um=top.item("TotalPixelMatrixOriginSequence").number(
            "ZOffsetInSlideCoordinateSystem"
        ),
        orientation=top.floats("ImageOrientationSlide"),
        frame_of_reference_uid=top.text("FrameOfReferenceUID"),
        pyramid_uid=top.text("PyramidUID"),
        acquisition_uid=top.text("AcquisitionUID"),
        concatenation=_concatenation(top),
        extended_depth_of_field=top.text("ExtendedDepthOfField").upper() == "YES",
        absent_pixel_cielab=_absent_pixel(top),
        lossy=top.text("LossyImageCompression") == "01",
        absent=_absent(top),
        description=read_description(top),
        burned_in=top.text("BurnedInAnnotation").upper() == "YES",
        label_in_image=top.text("SpecimenLabelInImage").upper() == "YES",
        derived_from=tuple(
            uid
            for item in top.items("SourceImageSequence")
            if (uid := item.text("ReferencedSOPInstanceUID"))
        ),
        lossy_ratio=next(reversed(top.floats("LossyImageCompressionRatio")), None),
    )


_REQUIRED = (
    "FrameOfReferenceUID",
    "DimensionOrganizationType",
    "TotalPixelMatrixOriginSequence",
    "ImageOrientationSlide",
    "OpticalPathSequence",
    "SharedFunctionalGroupsSequence",
)


def _absent(top: Attributes) -> tuple[str, ...]:
    """What PS3.3 A.32.8 requires of every instance, and what is done without where it is absent."""
    absent = [keyword for keyword in _REQUIRED if not top.binary(keyword)]
    if top.integer("SamplesPerPixel", 1) > 1 and not top.binary("PlanarConfiguration"):
        absent.append("PlanarConfiguration")
    return tuple(absent)


def _optical_paths(top: Attributes) -> tuple[OpticalPath, ...]:
    return _read_paths(top) or ()


def _optical_path(item: Attributes) -> OpticalPath:
    return OpticalPath(
        identifier=item.text("OpticalPathIdentifier"),
        description=item.text("OpticalPathDescription"),
        wavelength_nm=item.number("IlluminationWaveLength"),
        illumination=item.meaning("IlluminationTypeCodeSequence"),
        objective_power=item.number("ObjectiveLensPower"),
        numerical_aperture=item.number("ObjectiveLensNumericalAperture"),
        icc_profile=item.binary("ICCProfile"),
        light=Light(
            methods=item.meanings("IlluminationTypeCodeSequence"),
            colour=item.meaning("IlluminationColorCodeSequence"),
            illuminator=item.meaning("IlluminatorTypeCodeSequence"),
            lenses=item.meanings("LensesCodeSequence"),
            channels=item.meanings("ChannelDescriptionCodeSequence"),
            condenser_power=item.number("CondenserLensPower"),
            light_filters=item.meanings("LightPathFilterTypeStackCodeSequence"),
            image_filters=item.meanings("ImagePathFilterTypeStackCodeSequence"),
            light_pass_nm=item.number("LightPathFilterPassThroughWavelength"),
            image_pass_nm=item.number("ImagePathFilterPassThroughWavelength"),
            light_band_nm=_band(item, "LightPathFilterPassBand"),
            image_band_nm=_band(item, "ImagePathFilterPassBand"),
        ),
    )


_read_paths = read_once("OpticalPathSequence", lambda items: tuple(map(_optical_path, items)))


def _band(item: Attributes, keyword: str) -> tuple[float, float] | None:
    ends = item.floats(keyword)
    return (ends[0], ends[1]) if len(ends) == 2 else None


def measures_of(dataset: DataSet, first: DataSet) -> PixelMeasures:
    """Pixel Measures of the shared groups, else of the first frame, else the top-level spacing.

    first : the elements of the first per-frame item
    """
    attributes = Attributes(dataset)
    shared = attributes.item("SharedFunctionalGroupsSequence")
    top = attributes.floats("PixelSpacing")
    for groups in (shared, Attributes(first)):
        item = groups.item("PixelMeasuresSequence")
        spacing = item.floats("PixelSpacing")
        if len(spacing) >= 2 and min(spacing[:2]) > 0:
            return PixelMeasures((spacing[0], spacing[1]), item.number("SpacingBetweenSlices"))
    if len(top) >= 2 and min(top[:2]) > 0:
        return PixelMeasures((top[0], top[1]), None)
    return PixelMeasures(None, None)


def _position(shared: Attributes) -> SharedPosition:
    plane = shared.item("PlanePositionSlideSequence")
    path = shared.item("OpticalPathIdentificationSequence")
    return SharedPosition(
        plane.integer("ColumnPositionInTotalImagePixelMatrix"),
        plane.integer("RowPositionInTotalImagePixelMatrix"),
        plane.number("ZOffsetInSlideCoordinateSystem"),
        path.text("OpticalPathIdentifier"),
    )


def _origin(top: Attributes) -> tuple[float, float] | None:
    item = top.item("TotalPixelMatrixOriginSequence")
    x = item.number("XOffsetInSlideCoordinateSystem")
    y = item.number("YOffsetInSlideCoordinateSystem")
    return None if x is None or y is None else (x, y)


def _palette(top: Attributes, encoding: Encoding) -> Palette | None:
    planes: list[bytes] = []
    first = 0
    for colour in ("Red", "Green", "Blue"):
        described = top.floats(f"{colour}PaletteColorLookupTableDescriptor")
        data = top.binary(f"{colour}PaletteColorLookupTableData")
        if len(described) != 3 or data is None:
            return None
        entries = int(described[0]) or 65536
        first = int(described[1])
        if described[2] > 8 or len(data) >= 2 * entries:
            # Entries are words; the more significant byte is what eight bits can show.
            data = data[0::2] if encoding.big_endian else data[1::2]
            if described[2] <= 8 and not any(data):
                return None
        elif encoding.big_endian:
            data = bytes(data[at ^ 1] for at in range(len(data) // 2 * 2))
        planes.append(data[:entries])
    if len({len(plane) for plane in planes}) != 1 or not planes[0]:
        return None
    return Palette(first, bytes(value for entry in zip(*planes, strict=True) for value in entry))


def _concatenation(top: Attributes) -> Concatenation | None:
    uid = top.text("ConcatenationUID")
    if not uid:
        return None
    return Concatenation(
        uid,
        top.integer("InConcatenationNumber", 1),
        top.integer("InConcatenationTotalNumber"),
        top.integer("ConcatenationFrameOffsetNumber"),
    )


def _absent_pixel(top: Attributes) -> tuple[int, int, int] | None:
    values = top.floats("RecommendedAbsentPixelCIELabValue")
    if len(values) != 3:
        return None
    return int(values[0]), int(values[1]), int(values[2])
