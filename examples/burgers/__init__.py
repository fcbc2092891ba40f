"""A neural surrogate of the 1-D viscous Burgers' equation, trained and judged group by group."""
