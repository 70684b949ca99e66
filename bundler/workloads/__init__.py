"""Kubernetes objects and Helm charts, read for the images they need. No cluster and no network is asked."""
