"""Tests of `dicomfs.reading`."""
