"""Programs that a tracker's own Python runs: they need nothing but it and the standard library."""
