"""Tests of what is known of k3s."""
