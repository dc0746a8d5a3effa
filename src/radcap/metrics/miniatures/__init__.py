"""The sample's scorers: small models of the published classes, made on the spot; a module for each metric."""
