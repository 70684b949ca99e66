"""What the site gets besides images: the installer, k3s's configuration, facts and words for people."""
