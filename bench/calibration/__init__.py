"""How often the rule of noise errs, measured on real runs (`make calibrate` writes docs/calibration.md)."""
