"""Calls by the clock: what may be scheduled (`manage`), when (`cron`), and who makes the calls (`firing`)."""
