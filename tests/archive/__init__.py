"""Tests of slides as files: the whole way from DICOM objects to bytes, without a mount."""
