"""From slides to TIFF: which directories, which tags, which bytes lie where.

Knows slides, but neither data sets nor files nor FUSE.  `dicomfs.tiff.flavours` plans a virtual
TIFF; `dicomfs.tiff.plan` says where its bytes come from.
"""
