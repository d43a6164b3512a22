"""What many tests share: servers, databases, and the wall around the network."""
