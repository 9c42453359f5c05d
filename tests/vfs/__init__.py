"""Tests of the tree of a mount, without a mount."""
