"""The runtimes that come with Reticle, one file each; none is imported before it is used."""
