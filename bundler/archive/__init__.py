"""The image archive: one tar of images that k3s, containerd, Docker and podman read."""
