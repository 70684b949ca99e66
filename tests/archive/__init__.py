"""Tests of the image archive."""
