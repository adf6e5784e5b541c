"""The JSON endpoints, one module per noun. Each defines `routes`, its part of the route table."""
