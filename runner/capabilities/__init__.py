"""Host capabilities, one file each: declare → wire → enforce → test. `table` lists them all.

Adding one: its WIT file and its line in `shared/capabilities.py`; its file here; its line in `table`; its tests. A
service of the host application needs none of this: its files are read, and `provider` answers for all of them.
"""
