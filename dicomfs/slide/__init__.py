"""From facts to slides: which instances make a slide, and where each frame belongs in it.

Knows DICOM's meaning, but neither TIFF nor FUSE, and opens no file.
"""
