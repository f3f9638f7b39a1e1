"""What is sold through the gateways: API products, their routes, and the upstreams behind them."""
