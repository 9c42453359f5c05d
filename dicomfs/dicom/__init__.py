"""From bytes to facts: what a DICOM object says, and where its frames lie.

Sans-IO: nothing here opens a file (see `dicomfs.dicom.steps`), and nothing here knows of TIFF.
"""
