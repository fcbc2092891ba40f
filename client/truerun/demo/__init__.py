"""A walk through a real regression that every average hid: `python -m truerun.demo` against a running service."""
