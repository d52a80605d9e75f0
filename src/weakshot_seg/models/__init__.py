"""The network: backbone -> pixel decoder -> query decoder -> heads. Knows nothing of data or losses."""
