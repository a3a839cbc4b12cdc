"""The rules, by theme: which exceptions of which libraries become one of the structured classes.

*Rule:* every message in here was seen: a test raises it with the real library, or says why it cannot.
"""
