"""Files that nobody should have written, kept as data, and what has to become of each."""
