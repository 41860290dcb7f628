"""The value codec: Python values ↔ `wasmtime_component_val_t`, driven by the types of our WIT files.

The library's own conversion costs about 0.4 ms a call and 2 s per MiB of `list<u8>`; this one compiles each WIT
type once into a pair of closures. Values in Python: record → sequence of its fields in WIT order, enum → case
name, option → `None` or the value, `list<u8>` → bytes, other lists and tuples → list, result → `(True, ok)` or
`(False, err)`. The same shapes cross the frames between sandbox and runner.
"""
