"""The stops on the way from a recipe to a bundle, one module each; `bundler.build` puts them in order."""
