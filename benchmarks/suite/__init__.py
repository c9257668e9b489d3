"""Runs servers and clients against a load generator, and counts.

`rows` says what is measured and `contenders` who takes part; `rounds` takes the
figures, each by a function of `takes`, and `results` is what is kept of them.
``run.py`` beside this folder is the command.
"""
