"""The promises of docs/semantics.md, each tried on a real mount of real slides."""
