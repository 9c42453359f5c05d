"""A long time of reading and changing."""
