"""What bccli takes from files that others made: their kinds, sizes and types are looked at first."""
