"""The only room that connects to hosts out there, for guests that fetch.

What may be fetched is decided by `shared.egress` and its neighbours, which are pure; this room carries decisions out:

    fetch      one execution's fetches: limits, hops, secrets, and what each decision is told to whom
    resolver   a name's addresses, asked once, within a deadline of its own
    connect    to one of exactly these addresses, when none of them is denied; TLS against the host's name
    http1      one request and its answer, counted while they cross
    pool       connections kept for the next fetch of the same install
"""
