"""The FUSE adapter: kernel requests in, nodes and bytes out; mounting and unmounting.

Knows `vfs` and `reading`, holds no policy.  The only package that imports pyfuse3; its modules
about mountpoints and unmounting do without, so that these work where pyfuse3 is broken.
"""
