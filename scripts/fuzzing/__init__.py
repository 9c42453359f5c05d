"""Fuzzing of everything that reads bytes somebody else wrote."""
