"""Where bytes come from; the only package that opens source files.

Everything above asks a `Source` (`dicomfs.source.protocol`) for objects and exact byte ranges.
What the bytes mean is not known here.
"""
