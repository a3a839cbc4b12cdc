"""Pools of workers: what to do is decided by pure rooms, and done by the supervisor."""
