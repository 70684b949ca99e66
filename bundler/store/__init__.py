"""The builder's content-addressed cache."""
