"""Whether the three components of a frame are RGB or YCbCr, judged by the samples.

Only for the one case in which nothing else tells: JPEG 2000 without a multiple component transform
under a YBR label.  Both kinds exist: slides converted from Aperio's compression 33003 hold YCbCr
under YBR_ICT, and OrthancWSI writes RGB under YBR_FULL_422.  Taking RGB for YCbCr leads to colours
that cannot exist, and that shows in the samples.
"""

from __future__ import annotations

import imagecodecs
import numpy as np
import numpy.typing as npt

from dicomfs.dicom.codestream import Colour

_IN_GAMUT = (
    0.92  # strong compression pushes a few in a hundred out; RGB leaves a fifth and more out
)
_CORRELATED = 0.6
_SLACK = 12  # quantisation pushes colours of lossy frames out of the cube by a little


def judge_components(samples: npt.NDArray[np.unsignedinteger]) -> Colour:
    """Judge decoded samples, shape (height, width, 3), unsigned 8 or 16 bit.

    YCbCr converts to RGB that lies inside the colour cube (T.871 section 7); where RGB samples
    happen to do so too, their components rise and fall together, which luma and chroma do not.
    """
    full = float(np.iinfo(samples.dtype).max)
    step = max(1, int((samples.shape[0] * samples.shape[1] / 65536) ** 0.5))
    planes = samples[::step, ::step].reshape(-1, 3).astype(np.float64) * (255.0 / full)
    y, cb, cr = planes[:, 0], planes[:, 1] - 128.0, planes[:, 2] - 128.0
    rgb = np.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb))
    inside = ((rgb >= -_SLACK) & (rgb <= 255 + _SLACK)).all(axis=0).mean()
    if inside < _IN_GAMUT:
        return Colour.RGB
    if planes.std(axis=0).min() < 1.0:
        return Colour.YCBCR
    correlation = np.atleast_2d(np.corrcoef(planes, rowvar=False))
    together = min(float(correlation[0, 1]), float(correlation[0, 2]))
    return Colour.RGB if together > _CORRELATED else Colour.YCBCR


def judge_jpeg_2000_frame(frame: bytes) -> Colour | None:
    """Judge a JPEG 2000 frame of three components; None where it cannot be decoded."""
    try:
        samples = imagecodecs.jpeg2k_decode(frame)
    except (imagecodecs.Jpeg2kError, ValueError, RuntimeError):
        return None
    if samples.ndim != 3 or samples.shape[2] != 3 or samples.dtype.kind != "u":
        return None
    return judge_components(samples)
