"""The version, in the one place that everything else reads it from."""

version = "0.1.0"
