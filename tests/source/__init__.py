"""Tests of `dicomfs.source`."""
