"""Discover, parse, group: which slides a source holds, and what it holds that is not shown."""
