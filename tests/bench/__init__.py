"""What `make bench` runs: the product beside what people use today, measured. Never collected by pytest."""
