"""The source of the test archive, for mounts that show no slides."""

from tests.fuse.conftest import source

__all__ = ["source"]
