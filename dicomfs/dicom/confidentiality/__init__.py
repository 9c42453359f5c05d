"""A data set without identities, after PS3.15 Annex E: from one data set to another.

`deidentify` is the way in; it is called before anybody makes sense of a data set, so nothing else
knows of it.
"""
