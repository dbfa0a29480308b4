"""Readers of survey data, the gate every row passes, and the embedded simulated survey."""
