"""What is known of k3s: facts by version and parsers of what its release server says. No input or output."""
