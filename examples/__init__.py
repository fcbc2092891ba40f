"""Trainings to learn from; each runs on its own beside any service."""
