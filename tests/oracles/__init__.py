"""Independent judges of what dicomfs produces: other people's code, never dicomfs itself.

- `opened`: the form every reader's answer takes, and the comparison of pixels
- `readers`: the TIFF readers, `READERS` by name; `libraries` holds those that are libraries with
  commands, `bioformats` the one that needs a Java server
- `frame_decoders`: one bare frame to pixels, with the colour its code stream declares
- `dicom_series`, `dicom_slides`: files to series, instances to the pixel matrix of every level
- `tiff_directories`, `tiff_structure`: is a file sound by TIFF 6.0, down to every offset
- `virtual_bytes`: are the tiles of a TIFF the bytes of the DICOM frames
- `known_limits`: what a reader is known to get wrong in anybody's file
- `comparison`, `compare_data`: one virtual file, and a whole tree of them, against the source
- `samples`: small files of known content, to try the judges on
"""
