"""Independent judges of what dicomfs produces: other people's code, never dicomfs itself.

- `opened`: the form every reader's answer takes, and the comparison of pixels
- `readers`: the TIFF readers, `READERS` by name; `libraries` and `bioformats` hold some of them
- `frame_decoders`: one bare frame to pixels, with the colour its code stream declares
- `dicom_slides`: a series of DICOM instances to the pixel matrix of every level
- `tiff_structure`: is a file sound by TIFF 6.0 and BigTIFF, down to every offset
- `virtual_bytes`: are the tiles of a TIFF the bytes of the DICOM frames
- `known_limits`: what a reader is known to get wrong in anybody's file
- `compare_data`: the whole comparison as a command, over a tree of virtual files
"""
