"""What a mount looks like: names, nodes and the directory tree, as immutable values.

Knows virtual files as opaque contents; must not know FUSE, and reads no byte of any file.
"""
