"""Ways out for the events: each exporter takes them from the bus and gives them to one other system.

*Rule:* an exporter knows events and options, never pools, and imports its library only when it is used.
"""
