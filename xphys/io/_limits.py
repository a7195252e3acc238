"""Sizes above which something read from a store is not what it claims to be."""

#: Largest metadata document in bytes.
LARGEST_DOCUMENT = 2**26
