"""Other trackers beside us, each in an environment of its own (PEERS=1)."""
