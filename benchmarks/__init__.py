"""What is fast, and against whom: ``make bench`` runs all of it side by side in one run."""
