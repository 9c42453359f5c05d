"""Tests of `dicomfs.dicom`: from bytes to facts."""
