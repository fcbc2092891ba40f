"""How fast the service is, with the limits that it is held to (`make bench` writes docs/benchmarks.md)."""
