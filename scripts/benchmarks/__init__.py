"""Benchmarks of dicomfs against what people would use instead, as ratios of the same run.

Slides are written by the fixtures of the tests, dicomfs is run as a command, and the peers are
other people's programs. Nothing of dicomfs is imported but by the children that measure its parser.
"""
