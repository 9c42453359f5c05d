"""Tests of the FUSE adapter and of the commands that mount: real mounts, each in a process of its
own, because a test that reads a mount of its own process waits for itself."""
