"""Recordings of events, read again: as tables, or as the events that they were.

*Rule:* a file that a crash or a full disk cut short gives what is whole, and says what was lost.
"""
