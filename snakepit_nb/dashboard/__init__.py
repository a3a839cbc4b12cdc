"""The live timeline: what a pool's events become in the browser, and the picture that stays.

*Rule:* it knows events, not pools; its buttons act through callables handed to it.
"""
