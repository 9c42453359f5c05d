"""Tests of `dicomfs.catalog`: what a source holds, and what of it is not shown."""
