"""What extensions measure about themselves: checked samples, one worker's book of them, and what `/metrics` says of all.

    samples      what a sample may be: names, labels, numbers. Pure
    book         one worker's series: so many for each install, gone when the install is idle or removed
    exposition   the books of all workers as one text, with the labels the operator allows

prometheus-client's files for several processes never shrink and never forget, so guests' series are none of them.
"""
