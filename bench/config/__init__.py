"""From words and YAML to a checked config and the parts it describes."""
