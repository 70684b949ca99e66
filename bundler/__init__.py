"""k3s-bundler: pack a k3s release and its images into one verified bundle that installs without a network."""

__version__ = "0.1.0"
