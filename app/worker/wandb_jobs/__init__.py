"""What is brought to W&B: one job, one run, one short-lived child process."""
