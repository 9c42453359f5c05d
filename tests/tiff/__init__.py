"""Tests of `dicomfs.tiff`: which directories, which tags, which bytes lie where."""
