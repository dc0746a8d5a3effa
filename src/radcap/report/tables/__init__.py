"""The study's Tables 1 to 7 from this workspace's results, beside the published figures."""
