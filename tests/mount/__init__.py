"""The whole program, from DICOM files to foreign readers, through a real mount."""
