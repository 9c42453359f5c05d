"""Carries out read plans: exactly the bytes that were asked for, or an error, in bounded time.

Knows virtual files and sources; knows neither names nor inodes.
"""
