"""audit: no call runs without its row. Opened before the dispatch, closed behind the answer, reaped when lost."""
