"""A synthetic H&E slide, painted from a seed and written as a DICOM WSM series.

It lets people try dicomfs before they have slides of their own. Nothing in here is used by dicomfs
itself, and nothing of dicomfs is used in here: the slide is an outsider's input.
"""
