"""A training job in miniature, for whoever has the client and TRUERUN_URL and TRUERUN_TOKEN in the environment."""

POST = """
import sys

import truerun

run = truerun.init(project="tried", name="first", run_key="first", seed=1)
groups = {"easy": {"mse": 0.1, "n": 10}, "hard": {"mse": 0.4, "n": 10}}
verdict = run.log_evaluation("val", {"mse": 0.25}, groups=groups)
run.finish()
print(verdict)
sys.exit(0 if verdict.gate in ("undecided", "open", "closed") else 1)
"""
