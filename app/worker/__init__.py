"""The part that works when nobody waits: deliveries that are owed, verdicts that are out of date."""
