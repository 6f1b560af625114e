"""Cost of a candidate as it would be served: latency, throughput, memory, and the limits on them."""
