"""From Darknet files to bundles. Works offline; the loop never imports it."""
