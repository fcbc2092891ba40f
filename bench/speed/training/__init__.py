"""What our client costs a real training, step by step (TRAIN=1)."""
