"""Tests of `dicomfs.extents`."""
