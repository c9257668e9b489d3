"""A process that serves: its signals, sockets it inherits, its workers, its monitor.

What `gws serve` is made of; nothing here is needed to serve from a program.
"""
