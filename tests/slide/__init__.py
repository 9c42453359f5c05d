"""Tests of `dicomfs.slide`: from facts to slides."""
