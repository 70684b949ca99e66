"""Where images come from: a Docker daemon, or registries themselves."""
