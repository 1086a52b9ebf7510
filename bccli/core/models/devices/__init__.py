"""Networks on the devices of this machine."""
