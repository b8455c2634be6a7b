"""Synthetic studies with known true qualities, and what the procedures of reports/statistics say of them."""
